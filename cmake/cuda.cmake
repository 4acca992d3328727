# The CUDA part, as the target `fastw2v_cuda`: csrc/cuda in a static library that the op library and
# the pybind11 module are linked with. FASTW2V_CUDA decides what becomes of it:
#   AUTO      it is built where nvcc is found (CUDACXX, the path, /usr/local/cuda, the Python package
#             nvidia-cuda-nvcc) and the installed TensorFlow can use it, and only into the op library
#   ON, OFF   it has to be built; it is not built
#   EMULATED  the C++ compiler builds it and kernels run on the processor (csrc/cuda/emulated), for
#             tests without a GPU
# Sets FASTW2V_CUDA_BUILT, which is TRUE or FALSE, and FASTW2V_CUDA_RELEASE, that of nvcc.
set(FASTW2V_CUDA AUTO CACHE STRING "AUTO, ON, OFF or EMULATED")
set_property(CACHE FASTW2V_CUDA PROPERTY STRINGS AUTO ON OFF EMULATED)
set(FASTW2V_CUDA_BUILT FALSE)
set(FASTW2V_CUDA_RELEASE "")
if(NOT FASTW2V_CUDA MATCHES "^(AUTO|ON|OFF|EMULATED)$")
  fastw2v_fail("FASTW2V_CUDA = ${FASTW2V_CUDA} is not AUTO, ON, OFF or EMULATED")
elseif(FASTW2V_CUDA STREQUAL "OFF")
  return()
elseif(FASTW2V_CUDA STREQUAL "AUTO" AND FASTW2V_TENSORFLOW AND NOT FASTW2V_TENSORFLOW_CUDA)
  message(STATUS "no CUDA part: this TensorFlow is built without CUDA")
  return()
endif()

file(GLOB_RECURSE cuda_sources CONFIGURE_DEPENDS csrc/cuda/*.cu)
if(FASTW2V_CUDA STREQUAL "EMULATED")
  set(FASTW2V_CUDA_BUILT TRUE)
  set(FASTW2V_CUDA_RELEASE emulated)
  file(GLOB emulation CONFIGURE_DEPENDS csrc/cuda/emulated/*.cc)
  list(FILTER cuda_sources EXCLUDE REGEX "/sort\\.cu$")  # emulated/sort.cc stands for it
  set_source_files_properties(${cuda_sources} PROPERTIES LANGUAGE CXX)
  add_library(fastw2v_cuda STATIC ${cuda_sources} ${emulation})
  # Before the toolkit's directories: the headers there stand in for the toolkit's.
  target_include_directories(fastw2v_cuda BEFORE PUBLIC csrc/cuda/emulated)
  target_compile_definitions(fastw2v_cuda PUBLIC FASTW2V_CUDA_EMULATED)
  # Kernels are large templates: optimizing them takes longer than it saves in tests.
  target_compile_options(fastw2v_cuda PRIVATE -O1 -Wno-unknown-pragmas)
  target_link_libraries(fastw2v_cuda PRIVATE fastw2v_own_code PUBLIC fastw2v_core)
  return()
endif()

include(find_nvcc)
if(NOT CMAKE_CUDA_COMPILER)
  return()
endif()
enable_language(CUDA)
# The first release that has cudaGetDriverEntryPointByVersion; TensorFlow asks for it too.
if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 12.5)
  string(CONCAT old "${CMAKE_CUDA_COMPILER} is of CUDA ${CMAKE_CUDA_COMPILER_VERSION}, and 12.5 or "
    "later is needed: name another one in the environment variable CUDACXX")
  if(FASTW2V_CUDA STREQUAL "ON")
    fastw2v_fail("FASTW2V_CUDA = ON, and ${old}")
  endif()
  message(WARNING "no CUDA part: ${old}")
  return()
endif()
set(FASTW2V_CUDA_BUILT TRUE)
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(FASTW2V_CUDA_RELEASE ${CMAKE_CUDA_COMPILER_VERSION})
find_package(CUDAToolkit REQUIRED)

# Kernels of the portable path use what sm_80 has: they are compiled once, assembled for each chip,
# and kept as PTX for later ones. Those of Hopper are for its own instructions alone.
set(FASTW2V_CUDA_CHIPS 80 86 89 90 CACHE STRING "chips that the portable kernels are assembled for")
list(TRANSFORM FASTW2V_CUDA_CHIPS PREPEND sm_ OUTPUT_VARIABLE chips)
list(JOIN chips "," chips)
set(portable -gencode=arch=compute_80,code=[${chips},compute_80])
set(hopper -gencode=arch=compute_90a,code=sm_90a)
set(CMAKE_CUDA_ARCHITECTURES OFF)
set(CMAKE_CUDA_FLAGS_RELEASE "-O3 -DNDEBUG")
foreach(source IN LISTS cuda_sources)
  if(source MATCHES "/hopper/")
    set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${hopper}")
  else()
    set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${portable}")
  endif()
endforeach()

# Objects of their own, so that `make cuda` compiles them without the core.
add_library(fastw2v_cuda_kernels OBJECT ${cuda_sources})
target_include_directories(fastw2v_cuda_kernels PRIVATE ${PROJECT_SOURCE_DIR})
target_compile_options(fastw2v_cuda_kernels PRIVATE
  --expt-relaxed-constexpr -Xcompiler=-fvisibility=hidden,-Wall -Xptxas=-v)
# The interpreter behind a virtual environment, so that a build from another one finds its kernels
# compiled by the same command.
file(REAL_PATH ${Python_EXECUTABLE} interpreter)
# Remarks of the assembler count as warnings, whose number changes with the release of CUDA.
set_target_properties(fastw2v_cuda_kernels PROPERTIES COMPILE_WARNING_AS_ERROR OFF
  CUDA_COMPILER_LAUNCHER "${interpreter};${PROJECT_SOURCE_DIR}/cmake/ptxas_report.py")
add_library(fastw2v_cuda STATIC $<TARGET_OBJECTS:fastw2v_cuda_kernels>)
# The runtime is linked in, so that the libraries load where there is no CUDA, and its symbols are
# hidden, so that TensorFlow's own runtime, maybe of another release, stays apart.
target_link_libraries(fastw2v_cuda PUBLIC fastw2v_core CUDA::cudart_static)
target_link_options(fastw2v_cuda INTERFACE -Wl,--exclude-libs,libcudart_static.a)
