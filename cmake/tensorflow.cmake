# The installed TensorFlow, as the target `tensorflow_framework`: what an op library is compiled and
# linked with.
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
list(POP_FRONT found FASTW2V_TENSORFLOW_VERSION FASTW2V_TENSORFLOW_CUDA library)
message(STATUS "TensorFlow ${FASTW2V_TENSORFLOW_VERSION}: ${library}")

add_library(tensorflow_framework SHARED IMPORTED)
set_target_properties(tensorflow_framework PROPERTIES
  IMPORTED_LOCATION ${library}
  INTERFACE_INCLUDE_DIRECTORIES "${found}")
# TensorFlow's headers are full of warnings; its templates are ours and its own at once, and so stay
# visible; and one alignment for Eigen must hold on both sides.
target_compile_options(tensorflow_framework INTERFACE -w)
target_compile_definitions(tensorflow_framework INTERFACE
  EIGEN_MAX_ALIGN_BYTES=64
  FASTW2V_TENSORFLOW_VERSION="${FASTW2V_TENSORFLOW_VERSION}")
# A symbol that this TensorFlow lacks is found here and not when the library is loaded.
target_link_options(tensorflow_framework INTERFACE -Wl,-z,defs)

# TensorFlow is in the process before the op library; the path serves tools that look at it alone.
set(CMAKE_BUILD_WITH_INSTALL_RPATH ON)
set(CMAKE_INSTALL_RPATH $ORIGIN/../tensorflow)
