# cmake -DSOURCE=folder -DOUTPUT=file -P build_commit.cmake
# Writes the definition of build_commit(), and touches the file only where it changes.
set(commit "unknown")
find_program(GIT git)
# Only a repository of its own: a release unpacked within another one has none.
if(GIT AND EXISTS ${SOURCE}/.git)
  execute_process(COMMAND ${GIT} -C ${SOURCE} describe --always --dirty --exclude=*
                  OUTPUT_VARIABLE described OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE status)
  if(status EQUAL 0)
    set(commit "${described}")
  endif()
endif()
file(CONFIGURE OUTPUT ${OUTPUT} @ONLY CONTENT [[
#include "cli/build_commit.h"

namespace restkv {

const char* build_commit() { return "@commit@"; }

}  // namespace restkv
]])
