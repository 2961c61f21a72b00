# The pinned llama.cpp tree, built once per kind of processor outside the work tree by
# tools/build_llama_cpp. Gives the targets restkv_ggml and restkv_llama.
set(LLAMA_CPP_SOURCE_DIR "" CACHE PATH "llama.cpp source tree")
set(LLAMA_CPP_BUILD_DIR "" CACHE PATH "where its targets ggml and llama were built")
if(NOT LLAMA_CPP_SOURCE_DIR OR NOT LLAMA_CPP_BUILD_DIR)
  message(FATAL_ERROR "LLAMA_CPP_SOURCE_DIR and LLAMA_CPP_BUILD_DIR are not set: `make build` sets them")
endif()

# Looked up anew in every run: the folder changes with the kind of processor.
function(restkv_llama_cpp_library variable folder name)
  set(path ${LLAMA_CPP_BUILD_DIR}/${folder}/lib${name}.a)
  if(NOT EXISTS ${path})
    message(FATAL_ERROR "${path} is missing: `tools/build_llama_cpp` builds it")
  endif()
  set(${variable} ${path} PARENT_SCOPE)
endfunction()
restkv_llama_cpp_library(ggml_library ggml/src ggml)
restkv_llama_cpp_library(ggml_cpu_library ggml/src ggml-cpu)
restkv_llama_cpp_library(ggml_base_library ggml/src ggml-base)
restkv_llama_cpp_library(llama_library src llama)

# gomp by name, besides OpenMP::OpenMP_CXX: it must stand behind ggml-cpu on the link line (--as-needed).
add_library(restkv_ggml INTERFACE)
target_include_directories(restkv_ggml SYSTEM INTERFACE ${LLAMA_CPP_SOURCE_DIR}/ggml/include)
target_link_libraries(restkv_ggml INTERFACE ${ggml_library} ${ggml_cpu_library} ${ggml_base_library}
                                            OpenMP::OpenMP_CXX ${CMAKE_DL_LIBS} gomp pthread m)
add_library(restkv_llama INTERFACE)
target_include_directories(restkv_llama SYSTEM INTERFACE ${LLAMA_CPP_SOURCE_DIR}/include)
target_link_libraries(restkv_llama INTERFACE ${llama_library} restkv_ggml)
