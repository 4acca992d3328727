# The headers of the target Python (Python_EXECUTABLE) and pybind11.
find_package(Python COMPONENTS Interpreter REQUIRED)
set(python "${Python_VERSION_MAJOR}.${Python_VERSION_MINOR}")
find_package(Python COMPONENTS Interpreter Development.Module QUIET)
if(NOT Python_FOUND)
  fastw2v_fail("the headers of Python ${python} (Python.h) were not found: install them, for example "
    "with `apt install python${python}-dev`")
endif()

execute_process(
  COMMAND ${Python_EXECUTABLE} -m pybind11 --cmakedir
  OUTPUT_VARIABLE pybind11_DIR OUTPUT_STRIP_TRAILING_WHITESPACE
  RESULT_VARIABLE status ERROR_QUIET)
if(NOT status EQUAL 0)
  fastw2v_fail("pybind11 was not found: run ${Python_EXECUTABLE} -m pip install pybind11")
endif()
find_package(pybind11 CONFIG REQUIRED)
