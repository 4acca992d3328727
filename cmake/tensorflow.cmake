# The installed TensorFlow, as a target `tensorflow_tf221` for 2.21: what an op library is compiled
# and linked with. There are several where FASTW2V_TENSORFLOW_DIR names several. Sets
# FASTW2V_TENSORFLOWS, the ends of these names; FASTW2V_TENSORFLOW_CUDA, whether one of them can use
# CUDA; and FASTW2V_OP_LIBRARIES, for Python: the file of the op library by version of TensorFlow.
execute_process(
  COMMAND ${Python_EXECUTABLE} ${PROJECT_SOURCE_DIR}/cmake/find_tensorflow.py
  OUTPUT_VARIABLE found OUTPUT_STRIP_TRAILING_WHITESPACE
  ERROR_VARIABLE message ERROR_STRIP_TRAILING_WHITESPACE
  RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  fastw2v_fail("${message}")
elseif(message)
  message(WARNING "${message}")
endif()

set(FASTW2V_TENSORFLOWS "")
set(FASTW2V_TENSORFLOW_CUDA FALSE)
set(FASTW2V_OP_LIBRARIES "")
string(REPLACE "\n" ";" found "${found}")
foreach(line IN LISTS found)
  string(REPLACE "|" ";" fields "${line}")
  list(POP_FRONT fields minor version cuda directory library)
  message(STATUS "TensorFlow ${version}: ${library}")
  string(REPLACE "." "" name "tf${minor}")
  list(APPEND FASTW2V_TENSORFLOWS ${name})
  list(APPEND FASTW2V_OP_LIBRARIES "\"${version}\": \"_ops_${name}.so\"")
  if(cuda)
    set(FASTW2V_TENSORFLOW_CUDA TRUE)
  endif()

  set(target tensorflow_${name})
  add_library(${target} SHARED IMPORTED)
  set_target_properties(${target} PROPERTIES
    IMPORTED_LOCATION ${library}
    INTERFACE_INCLUDE_DIRECTORIES "${fields}")
  # TensorFlow's headers are full of warnings, and of checks that name their file, which is then
  # named without the directories of this machine; its templates are ours and its own at once, and
  # so stay visible; and one alignment for Eigen must hold on both sides.
  target_compile_options(${target} INTERFACE -w
    -ffile-prefix-map=${PROJECT_SOURCE_DIR}/= -ffile-prefix-map=${directory}/=)
  target_compile_definitions(${target} INTERFACE EIGEN_MAX_ALIGN_BYTES=64)
  # A symbol that this TensorFlow lacks is found here and not when the library is loaded.
  target_link_options(${target} INTERFACE -Wl,-z,defs)
endforeach()
list(JOIN FASTW2V_OP_LIBRARIES ", " FASTW2V_OP_LIBRARIES)

# TensorFlow is in the process before the op library; the path serves tools that look at it alone.
set(CMAKE_BUILD_WITH_INSTALL_RPATH ON)
set(CMAKE_INSTALL_RPATH $ORIGIN/../tensorflow)
