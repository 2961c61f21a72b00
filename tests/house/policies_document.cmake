# DOCUMENT is what `restkv policies FLAG` prints.
#   cmake -DPROGRAM=build/bin/restkv -DFLAG=--markdown -DDOCUMENT=docs/policies.md -P policies_document.cmake
execute_process(COMMAND ${PROGRAM} policies ${FLAG} OUTPUT_VARIABLE printed RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${PROGRAM} policies ${FLAG} ended with ${status}")
endif()
file(READ ${DOCUMENT} written)
if(NOT printed STREQUAL written)
  message(FATAL_ERROR "${DOCUMENT} is out of date: build/bin/restkv policies ${FLAG} > ${DOCUMENT}")
endif()
