# FASTW2V_SANITIZE=address+undefined: the core and the pybind11 module under both sanitizers. Python
# itself is not instrumented, so their runtimes are loaded before it: `environment`, in the build
# directory, sets what the tests need.
if(NOT FASTW2V_SANITIZE)
  return()
elseif(NOT FASTW2V_SANITIZE STREQUAL "address+undefined")
  fastw2v_fail("FASTW2V_SANITIZE = ${FASTW2V_SANITIZE} is neither OFF nor address+undefined")
elseif(FASTW2V_TENSORFLOW)
  fastw2v_fail("FASTW2V_SANITIZE needs FASTW2V_TENSORFLOW=OFF: TensorFlow is not instrumented")
elseif(NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  fastw2v_fail("FASTW2V_SANITIZE needs GCC, the compiler is ${CMAKE_CXX_COMPILER_ID}: set CXX=g++")
endif()

# AddressSanitizer watches what object-size would, which takes a fifth of the time to compile.
set(flags -fsanitize=address,undefined -fno-sanitize=object-size -fno-sanitize-recover=all)
target_compile_options(fastw2v_own_code INTERFACE ${flags} -O1 -g1 -fno-omit-frame-pointer)
target_link_options(fastw2v_own_code INTERFACE ${flags})

set(runtimes "")
foreach(name libasan.so libubsan.so)
  execute_process(
    COMMAND ${CMAKE_CXX_COMPILER} -print-file-name=${name}
    OUTPUT_VARIABLE path OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(NOT IS_ABSOLUTE ${path})
    fastw2v_fail("${CMAKE_CXX_COMPILER} has no ${name}: install the sanitizer runtimes of GCC")
  endif()
  list(APPEND runtimes ${path})
endforeach()
list(JOIN runtimes ":" runtimes)
# CPython leaves memory behind at its end by design, hence no leak check. With PYTHONMALLOC=malloc
# each small object is a block of its own, whose ends are watched.
file(GENERATE OUTPUT ${PROJECT_BINARY_DIR}/environment CONTENT
"LD_PRELOAD='${runtimes}'
ASAN_OPTIONS=detect_leaks=0
UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
PYTHONMALLOC=malloc
FASTW2V_KERNELS='$<TARGET_FILE:fastw2v_kernels>'
")
