# Ends the configuration with a sentence, which setup.py repeats as the last line of its output.
function(fastw2v_fail)
  string(CONCAT sentence ${ARGN})
  file(WRITE ${PROJECT_BINARY_DIR}/failure.txt "${sentence}")
  message(FATAL_ERROR "${sentence}")
endfunction()
