# The C++ compiler, and `fastw2v_own_code`: what every source file of ours is compiled with, apart
# from the TensorFlow side, whose headers forbid both warnings and hidden symbols.
include(CheckLanguage)
check_language(CXX)
if(NOT CMAKE_CXX_COMPILER)
  if(DEFINED ENV{CXX})
    set(tried "CXX = $ENV{CXX} does not compile a C++ program")
  else()
    set(tried "no C++ compiler was found")
  endif()
  fastw2v_fail("${tried}: install one that knows C++17, for example with "
    "`apt install g++`, or name it in the environment variable CXX")
endif()
enable_language(CXX)
if(NOT cxx_std_17 IN_LIST CMAKE_CXX_COMPILE_FEATURES)
  fastw2v_fail("${CMAKE_CXX_COMPILER} (${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}) "
    "does not know C++17: name a newer compiler in the environment variable CXX")
endif()

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O3 -DNDEBUG")
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
# Strings cross from the core to TensorFlow, whose wheels use this ABI whatever the default is here.
add_compile_definitions(_GLIBCXX_USE_CXX11_ABI=1)

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

add_library(fastw2v_own_code INTERFACE)
target_compile_options(fastw2v_own_code INTERFACE -Wall -Wextra -fvisibility=hidden)
target_include_directories(fastw2v_own_code INTERFACE ${PROJECT_SOURCE_DIR})
