# The pinned llama.cpp tree, built once per kind of processor outside the work tree by
# tools/build_llama_cpp. Gives the targets restkv_ggml and restkv_llama.
set(LLAMA_CPP_SOURCE_DIR "" CACHE PATH "llama.cpp source tree")
set(LLAMA_CPP_BUILD_DIR "" CACHE PATH "where its targets ggml and llama were built")
if(NOT LLAMA_CPP_SOURCE_DIR OR NOT LLAMA_CPP_BUILD_DIR)
  message(FATAL_ERROR "LLAMA_CPP_SOURCE_DIR and LLAMA_CPP_BUILD_DIR are not set: `make build` sets them")
endif()

# Imported, so that CMake knows who needs whom and puts them on the link line in that order. Looked up anew
# in every run: the folder changes with the kind of processor.
function(restkv_llama_cpp_library target folder name)
  cmake_parse_arguments(ARG "" "" "NEEDS" ${ARGN})
  set(path ${LLAMA_CPP_BUILD_DIR}/${folder}/lib${name}.a)
  if(NOT EXISTS ${path})
    message(FATAL_ERROR "${path} is missing: `tools/build_llama_cpp` builds it")
  endif()
  add_library(${target} STATIC IMPORTED GLOBAL)
  set_target_properties(${target} PROPERTIES IMPORTED_LOCATION ${path} INTERFACE_LINK_LIBRARIES "${ARG_NEEDS}")
endfunction()
restkv_llama_cpp_library(llama_cpp_ggml_base ggml/src ggml-base NEEDS OpenMP::OpenMP_CXX gomp ${CMAKE_DL_LIBS} pthread m)
restkv_llama_cpp_library(llama_cpp_ggml_cpu ggml/src ggml-cpu NEEDS llama_cpp_ggml_base)
restkv_llama_cpp_library(llama_cpp_ggml ggml/src ggml NEEDS llama_cpp_ggml_cpu llama_cpp_ggml_base)
restkv_llama_cpp_library(llama_cpp_llama src llama NEEDS llama_cpp_ggml)

add_library(restkv_ggml INTERFACE)
target_include_directories(restkv_ggml SYSTEM INTERFACE ${LLAMA_CPP_SOURCE_DIR}/ggml/include)
target_link_libraries(restkv_ggml INTERFACE llama_cpp_ggml)
add_library(restkv_llama INTERFACE)
target_include_directories(restkv_llama SYSTEM INTERFACE ${LLAMA_CPP_SOURCE_DIR}/include)
target_link_libraries(restkv_llama INTERFACE llama_cpp_llama restkv_ggml)
