# Micro-kernels: the same sources, compiled once per instruction set. FASTW2V_ISA is the name of the
# set. FASTW2V_BASELINE tells the core which set every processor of the architecture has, and
# FASTW2V_HAVE_<SET> which others there are to choose from at run time.
include(CheckCXXSourceCompiles)

function(fastw2v_add_isa_kernels core pattern)
  set(baseline baseline)
  set(isas "")
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
    set(isas avx2 avx512 avx512_bf16 amx)
  elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
    set(baseline neon)  # part of the architecture: it needs no flags
  endif()
  target_compile_definitions(${core} PRIVATE FASTW2V_BASELINE=${baseline})
  set(flags_avx2 -mavx2 -mfma -mf16c)
  set(flags_avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mf16c
    -mprefer-vector-width=512)
  set(flags_avx512_bf16 ${flags_avx512} -mavx512bf16)
  set(flags_amx ${flags_avx512_bf16} -mamx-tile -mamx-bf16)
  # A compiler may know instructions of which its assembler has not heard.
  set(probe_avx512_bf16 "_mm512_cvtneps_pbh(_mm512_setzero_ps())")
  set(probe_amx "_tile_dpbf16ps(0, 1, 2)")

  file(GLOB sources CONFIGURE_DEPENDS ${pattern})
  foreach(isa IN LISTS baseline isas)
    string(TOUPPER ${isa} upper)
    if(isa IN_LIST isas)
      string(JOIN " " CMAKE_REQUIRED_FLAGS ${flags_${isa}})
      check_cxx_source_compiles("#include <immintrin.h>\nint main() { ${probe_${isa}}; }"
        FASTW2V_COMPILES_${upper})
      if(NOT FASTW2V_COMPILES_${upper})
        continue()
      endif()
      target_compile_definitions(${core} PRIVATE FASTW2V_HAVE_${upper})
    endif()

    set(objects fastw2v_isa_${isa})
    add_library(${objects} OBJECT ${sources})
    # A square root that may set errno is a call, not an instruction.
    target_compile_options(${objects} PRIVATE -fno-math-errno ${flags_${isa}})
    target_compile_definitions(${objects} PRIVATE FASTW2V_ISA=${isa})
    target_link_libraries(${objects} PRIVATE fastw2v_own_code)
    target_sources(${core} PRIVATE $<TARGET_OBJECTS:${objects}>)
    if(NOT FASTW2V_SANITIZE)
      set(checked ${PROJECT_BINARY_DIR}/${objects}.checked)
      add_custom_command(OUTPUT ${checked}
        COMMAND ${Python_EXECUTABLE} ${PROJECT_SOURCE_DIR}/cmake/check_isa_symbols.py
          ${CMAKE_NM} ${isa} $<TARGET_OBJECTS:${objects}>
        COMMAND ${CMAKE_COMMAND} -E touch ${checked}
        DEPENDS ${objects} $<TARGET_OBJECTS:${objects}>
        COMMAND_EXPAND_LISTS VERBATIM)
      target_sources(${core} PRIVATE ${checked})
    endif()
  endforeach()
endfunction()
