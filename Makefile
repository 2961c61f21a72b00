# make build   everything, from a bare Debian 12 up to build/bin/restkv
# make demo    the main job in a minute
# make test    all tests; the last line says how many passed, failed and were skipped
# make check   formatting, clang-tidy, layers, words
# make bench-check   is this tree slower than the merge base with main?
# make clean   removes build folders, or that of BUILD=... (llama.cpp and models stay in ~/.cache/restkv)

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := build
.PHONY: build configure setup demo test check bench-check clean help

BUILD ?= build
MODEL ?= qwen2.5-coder-0.5b
JOBS  ?= $(shell nproc)

help:
	@sed -n '/^# make/s/^# //p' Makefile

setup:
	@tools/setup

# LLAMA_CPP_SOURCE_DIR=... takes another tree than the pinned one.
export LLAMA_CPP_SOURCE_DIR
configure: setup
	@mkdir -p $(BUILD)
	@tools/build_llama_cpp $(BUILD)/llama_cpp.cmake >/dev/null
	@[ $(BUILD)/build.ninja -nt $(BUILD)/llama_cpp.cmake ] || \
	  cmake -C $(BUILD)/llama_cpp.cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=Release

build: configure
	@cmake --build $(BUILD) --parallel $(JOBS)

demo: build
	@$(BUILD)/bin/restkv demo

# Without the model the tests that need it are skipped, each by its name.
test: build
	@model=$$($(BUILD)/bin/restkv pull $(MODEL)) || model=; \
	  RESTKV_TEST_MODEL="$$model" tools/ctest_summary $(BUILD) --parallel $(JOBS)

check: configure
	@tools/setup --checks
	@tools/check_format
	@tools/check_layers
	@tools/check_words
	@tools/check_tidy $(BUILD)

bench-check: configure
	@tools/bench_check -m $(MODEL)

clean:
ifeq ($(BUILD),build)
	@rm -rf build build-*/
else
	@[ -n "$(strip $(BUILD))" ] || { echo "make clean: BUILD is empty" >&2; exit 2; }
	@[ ! -e "$(BUILD)" ] || [ -e "$(BUILD)/CMakeCache.txt" ] || [ -e "$(BUILD)/llama_cpp.cmake" ] || \
	  { echo "make clean: $(BUILD) is no build folder" >&2; exit 2; }
	@rm -rf -- "$(BUILD)"
endif
