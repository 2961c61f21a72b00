# docs/policies.md is what `restkv policies --markdown` prints.
#   cmake -DPROGRAM=build/bin/restkv -DDOCUMENT=docs/policies.md -P policies_document.cmake
execute_process(COMMAND ${PROGRAM} policies --markdown OUTPUT_VARIABLE printed RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${PROGRAM} policies --markdown ended with ${status}")
endif()
file(READ ${DOCUMENT} written)
if(NOT printed STREQUAL written)
  message(FATAL_ERROR "${DOCUMENT} is out of date: build/bin/restkv policies --markdown > docs/policies.md")
endif()
