# nvcc, as CMAKE_CUDA_COMPILER: the one of CUDACXX or of the path, of /usr/local/cuda, or of the Python
# package nvidia-cuda-nvcc. Left empty where FASTW2V_CUDA=AUTO and there is none that works.
include(CheckLanguage)
if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  execute_process(
    COMMAND ${Python_EXECUTABLE} -c "import glob, site, sysconfig
for folder in [sysconfig.get_paths()['purelib'], *site.getsitepackages()]:
    print(*glob.glob(folder + '/nvidia/cu*/bin'), sep='\\n')"
    OUTPUT_VARIABLE package_paths OUTPUT_STRIP_TRAILING_WHITESPACE)
  string(REPLACE "\n" ";" package_paths "${package_paths}")
  find_program(FASTW2V_NVCC nvcc PATHS /usr/local/cuda/bin ${package_paths} DOC "nvcc")
  if(FASTW2V_NVCC)
    set(ENV{CUDACXX} ${FASTW2V_NVCC})
    # The packages have their libraries in lib, where nvcc does not look for them, and the shared
    # runtime, which CMake insists on, with a number.
    cmake_path(SET toolkit NORMALIZE ${FASTW2V_NVCC}/../..)
    file(GLOB runtime ${toolkit}/lib/libcudart.so.*)
    if(runtime)
      set(ENV{LIBRARY_PATH} ${toolkit}/lib:$ENV{LIBRARY_PATH})
      set(CUDA_CUDART ${runtime} CACHE FILEPATH "")
    endif()
  endif()
endif()
set(CMAKE_CUDA_HOST_COMPILER ${CMAKE_CXX_COMPILER})
# Only asked for by the check whether nvcc works; files are compiled as said in cuda.cmake.
set(CMAKE_CUDA_ARCHITECTURES 80)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  if(FASTW2V_CUDA STREQUAL "ON")
    fastw2v_fail("FASTW2V_CUDA = ON, and no nvcc was found that compiles for ${CMAKE_CXX_COMPILER}: "
      "install the CUDA toolkit 12.5 or later or the Python package nvidia-cuda-nvcc, or name nvcc "
      "in the environment variable CUDACXX")
  endif()
  message(STATUS "no CUDA part: nvcc was not found")
endif()
