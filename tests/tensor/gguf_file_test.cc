#include "tensor/gguf_file.h"

#include <ggml.h>
#include <gguf.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <numeric>

#include "support/gguf_writer.h"
#include "support/process_folder.h"

namespace restkv {
namespace {

GgufWriter small_model() {
  GgufWriter writer;
  writer.set_str("general.architecture", "llama");
  tiny_vocabulary(writer, 40);
  std::vector<float> data(64 * 40);
  std::iota(data.begin(), data.end(), -100.0F);
  writer.add_tensor("token_embd.weight", {64, 40}, data, GGML_TYPE_F32);
  writer.add_tensor("blk.0.attn_q.weight", {64, 40}, data, GGML_TYPE_Q8_0);
  writer.add_tensor("output_norm.weight", {10}, std::span(data).first(10), GGML_TYPE_F16);
  return writer;
}

TEST(GgufFile, SeesTensorsAsGgmlWroteThem) {
  const GgufWriter writer = small_model();
  const auto bytes = writer.bytes();
  const auto file = GgufFile::from_memory(bytes, "memory");
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ((*file)->architecture(), "llama");
  EXPECT_EQ((*file)->file_bytes(), bytes.size());
  ASSERT_EQ((*file)->tensors().size(), 3U);
  const TensorData* q = (*file)->tensor("blk.0.attn_q.weight");
  ASSERT_NE(q, nullptr);
  EXPECT_EQ(q->describe(), "blk.0.attn_q.weight [64, 40] q8_0");
  EXPECT_EQ(q->n_col(), 64);
  EXPECT_EQ(q->n_row(), 40);
  std::vector<float> seen(64 * 40);
  ggml_get_type_traits(GGML_TYPE_Q8_0)->to_float(q->data, seen.data(), 64 * 40);
  EXPECT_EQ(seen, writer.expanded("blk.0.attn_q.weight"));
  EXPECT_EQ((*file)->tensor("output_norm.weight")->bytes, 20U);
  EXPECT_EQ((*file)->tensor("blk.0"), nullptr);
}

TEST(TensorData, DescribesTypesThatGgmlDoesNotKnow) {
  TensorData tensor{.name = "a", .type = 0, .ne = {8}, .data = nullptr, .bytes = 0};
  EXPECT_EQ(tensor.describe(), "a [8] f32");
  for (const int type : {-1, int{GGML_TYPE_COUNT}, 1'000'000, std::numeric_limits<int>::min()}) {
    tensor.type = type;
    EXPECT_EQ(tensor.describe(), "a [8] type " + std::to_string(type));
  }
}

TEST(GgufFile, MappedAndReadFilesAreTheSame) {
  const std::string path = process_file("access.gguf");
  const GgufWriter writer = small_model();
  ASSERT_TRUE(writer.write(path).ok());
  for (const auto access : {GgufOpenOptions::Access::kMap, GgufOpenOptions::Access::kRead}) {
    const auto file = GgufFile::open(path, {.access = access});
    ASSERT_TRUE(file.ok()) << file.error().message;
    EXPECT_EQ((*file)->path(), path);
    const TensorData* tensor = (*file)->tensor("token_embd.weight");
    const auto expected = writer.expanded("token_embd.weight");
    ASSERT_EQ(tensor->bytes, expected.size() * sizeof(float));
    EXPECT_EQ(std::memcmp(tensor->data, expected.data(), tensor->bytes), 0);
  }
  std::filesystem::remove(path);
}

TEST(GgufFile, KeysComeInTheirKinds) {
  GgufWriter writer;
  writer.set_str("general.architecture", "llama");
  writer.set_u32("u32", 7);
  writer.set_i32("i32", -7);
  writer.set_u64("huge", std::numeric_limits<std::uint64_t>::max());
  writer.set_f32("f32", 0.5F);
  writer.set_f32("nan", std::numeric_limits<float>::quiet_NaN());
  writer.set_bool("bool", true);
  writer.set_str("str", "text");
  writer.set_i32s("i32s", std::array{1, -2, 3});
  writer.set_f32s("f32s", std::array{0.5F, -1.0F});
  writer.set_bools("bools", std::array<std::int8_t, 2>{0, 1});
  writer.set_strs("strs", std::array<std::string, 3>{"a", "", "ccc"});
  const auto bytes = writer.bytes();
  const auto opened = GgufFile::from_memory(bytes, "keys");
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  const GgufFile& file = **opened;

  EXPECT_EQ(**file.integer("u32"), 7);
  EXPECT_EQ(**file.integer("i32"), -7);
  EXPECT_EQ(**file.number("f32"), 0.5);
  EXPECT_EQ(**file.boolean("bool"), true);
  EXPECT_EQ(**file.text("str"), "text");
  EXPECT_EQ(**file.integers("i32s"), (std::vector<std::int64_t>{1, -2, 3}));
  EXPECT_EQ(**file.integers("bools"), (std::vector<std::int64_t>{0, 1}));
  EXPECT_EQ(**file.integers("u32"), (std::vector<std::int64_t>{7}));
  EXPECT_EQ(**file.numbers("f32s"), (std::vector<double>{0.5, -1.0}));
  EXPECT_EQ(**file.strings("strs"), (std::vector<std::string_view>{"a", "", "ccc"}));
  EXPECT_EQ(file.array_size("strs"), 3U);
  EXPECT_EQ(file.array_size("str"), std::nullopt);
  EXPECT_TRUE(file.is_string_array("strs"));
  EXPECT_FALSE(file.is_string_array("str"));
  EXPECT_FALSE(file.is_string_array("i32s"));
  EXPECT_EQ(file.type_of("u32"), "u32");
  EXPECT_EQ(file.type_of("strs"), "array of string");
  EXPECT_EQ(file.type_of("missing"), "");
  EXPECT_EQ(*file.integer("missing"), std::nullopt);
  EXPECT_EQ(*file.strings("missing"), std::nullopt);

  EXPECT_EQ(file.integer("huge").error().message, "keys: key 'huge' is too large");
  EXPECT_EQ(file.integer("f32").error().message, "keys: key 'f32' is a f32, not an integer");
  EXPECT_EQ(file.integer("i32s").error().message,
            "keys: key 'i32s' is an array of i32, not an integer");
  EXPECT_EQ(file.number("nan").error().message, "keys: key 'nan' is not a finite number");
  EXPECT_FALSE(file.number("u32").ok());
  EXPECT_FALSE(file.boolean("u32").ok());
  EXPECT_FALSE(file.text("strs").ok());
  EXPECT_FALSE(file.integers("strs").ok());
  EXPECT_FALSE(file.numbers("i32s").ok());
  EXPECT_FALSE(file.strings("str").ok());
}

TEST(GgufFile, RefusesWhatIsNotAFile) {
  EXPECT_EQ(GgufFile::open("/nowhere/at/all.gguf").error().code, ErrorCode::kNotFound);
  const auto folder = GgufFile::open(process_folder().string());
  EXPECT_EQ(folder.error().code, ErrorCode::kIo);
  EXPECT_EQ(folder.error().message, process_folder().string() + ": not a regular file");
  EXPECT_EQ(GgufFile::open("/dev/zero").error().code, ErrorCode::kIo);
  const std::string path = process_file("empty.gguf");
  std::ofstream(path).close();
  EXPECT_EQ(GgufFile::open(path).error().message, path + ": the file is empty");
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace restkv
