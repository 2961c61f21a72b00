// Writes the seeds of gguf_fuzz into a folder, or with --check compares them with what is there.
//   fuzz_make_corpus [--check] tests/fuzz/corpus/gguf

#include <ggml.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "support/gguf_writer.h"
#include "support/raw_gguf.h"
#include "tensor/vocabulary_cases.h"

namespace restkv {
namespace {

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string every_key_type() {
  GgufWriter writer;
  writer.set_str("general.architecture", "llama");
  writer.set_u32("general.alignment", 64);
  writer.set_u32("u32", 7);
  writer.set_i32("i32", -7);
  writer.set_u64("u64", 1ULL << 63);
  writer.set_f32("f32", -0.5F);
  writer.set_bool("bool", true);
  writer.set_u32s("u32s", std::vector<std::uint32_t>{1, 2});
  writer.set_i32s("i32s", std::vector<std::int32_t>{-1});
  writer.set_f32s("f32s", std::vector<float>{0.25F});
  writer.set_bools("bools", std::vector<std::int8_t>{0, 1});
  writer.set_strs("strs", std::vector<std::string>{"a", "", "bb"});
  const std::vector<float> data(3, 1.0F);
  writer.add_tensor("w", {3}, data, GGML_TYPE_F32);
  return text_of(writer.bytes());
}

std::string tensor_types() {
  GgufWriter writer;
  writer.set_str("general.architecture", "qwen2");
  const std::vector<float> data(512, 0.5F);
  for (const int type : {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16, GGML_TYPE_Q8_0,
                         GGML_TYPE_Q4_0, GGML_TYPE_Q4_K, GGML_TYPE_Q6_K}) {
    writer.add_tensor(ggml_type_name(static_cast<ggml_type>(type)), {256, 1, 2}, data, type);
  }
  return text_of(writer.bytes());
}

std::map<std::string, std::string> seeds() {
  RawGguf bare;
  bare.header(0, 1).architecture();
  RawGguf version_2;
  version_2.raw("GGUF").u32(2).u64(1).u64(1).architecture().tensor("w", {4}).pad(32).zeros(16);
  RawGguf two_tensors;
  two_tensors.header(2, 1)
      .architecture()
      .tensor("v", {8})
      .tensor("w", {2, 3}, 32)
      .pad(32)
      .zeros(56);
  return {{"bare.bin", text_of(bare.bytes())},
          {"version_2.bin", text_of(version_2.bytes())},
          {"two_tensors.bin", text_of(two_tensors.bytes())},
          {"every_key_type.bin", every_key_type()},
          {"tensor_types.bin", tensor_types()},
          {"vocabulary_bpe.bin", text_of(bpe_file().bytes())},
          {"vocabulary_spm.bin", text_of(spm_file().bytes())}};
}

int run(bool check, const std::filesystem::path& folder) {
  int n_different = 0;
  for (const auto& [name, bytes] : seeds()) {
    if (!check) {
      std::ofstream(folder / name, std::ios::binary) << bytes;
      continue;
    }
    std::ifstream file(folder / name, std::ios::binary);
    const std::string there((std::istreambuf_iterator<char>(file)), {});
    if (there == bytes) continue;
    std::printf("%s is not what this program writes\n", name.c_str());
    ++n_different;
  }
  return n_different == 0 ? 0 : 1;
}

}  // namespace
}  // namespace restkv

int main(int argc, char** argv) {
  const bool check = argc == 3 && std::string_view(argv[1]) == "--check";
  if (argc != 2 && !check) {
    std::fputs("usage: fuzz_make_corpus [--check] FOLDER\n", stderr);
    return 2;
  }
  return restkv::run(check, argv[argc - 1]);
}
