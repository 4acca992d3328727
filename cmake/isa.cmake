# Micro-kernels: the same sources, compiled once per instruction set. FASTW2V_ISA is the name of the
# set; FASTW2V_HAVE_<SET> tells the core which sets beyond the baseline there are to choose from at
# run time.
include(CheckCXXCompilerFlag)

function(fastw2v_add_isa_kernels core pattern)
  set(isas "")
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
    set(isas avx2 avx512)
  endif()
  set(flags_avx2 -mavx2 -mfma -mf16c)
  set(flags_avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mf16c
    -mprefer-vector-width=512)

  file(GLOB sources CONFIGURE_DEPENDS ${pattern})
  foreach(isa IN ITEMS baseline LISTS isas)
    string(TOUPPER ${isa} upper)
    if(NOT isa STREQUAL baseline)
      string(JOIN " " flags ${flags_${isa}})
      check_cxx_compiler_flag(${flags} FASTW2V_COMPILES_${upper})
      if(NOT FASTW2V_COMPILES_${upper})
        continue()
      endif()
      target_compile_definitions(${core} PRIVATE FASTW2V_HAVE_${upper})
    endif()

    set(objects fastw2v_isa_${isa})
    add_library(${objects} OBJECT ${sources})
    target_compile_options(${objects} PRIVATE ${flags_${isa}})
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
