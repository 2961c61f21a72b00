// Files that lie about themselves. Each is refused with a message that says where, or - when a
// change happens to leave a good file - is read exactly as ggml reads it.

#include <ggml.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "base/random.h"
#include "support/gguf_walk.h"
#include "support/gguf_writer.h"
#include "support/raw_gguf.h"
#include "tensor/gguf_file.h"

namespace restkv {
namespace {

constexpr std::uint64_t kHuge = std::uint64_t{1} << 62;

// In memory of exactly its size, so that a sanitizer sees the first byte behind it.
Result<std::shared_ptr<const GgufFile>> open_exactly(std::span<const std::byte> bytes,
                                                     std::unique_ptr<std::byte[]>& copy) {
  copy = std::make_unique<std::byte[]>(bytes.size());
  std::ranges::copy(bytes, copy.get());
  return GgufFile::from_memory({copy.get(), bytes.size()}, "file");
}

struct BrokenCase {
  const char* name;
  std::function<void(RawGguf&)> write;
  std::string error;  // the message begins so
};
std::ostream& operator<<(std::ostream& out, const BrokenCase& one) { return out << one.name; }

const std::vector<BrokenCase>& header_cases() {
  static const std::vector<BrokenCase> table = {
      {"Empty", [](RawGguf&) {}, "file: the file is empty"},
      {"ThreeBytes", [](RawGguf& f) { f.raw("GGU"); },
       "file: the file ends inside the magic number (at byte 0 of 3)"},
      {"AnotherMagic", [](RawGguf& f) { f.raw("GGML").u32(3).u64(0).u64(0); },
       "file: not a GGUF file: it does not begin with 'GGUF'"},
      {"Text", [](RawGguf& f) { f.raw("Once upon a time there was no model at all."); },
       "file: not a GGUF file: it does not begin with 'GGUF'"},
      {"Version0", [](RawGguf& f) { f.raw("GGUF").u32(0).u64(0).u64(0); },
       "file: GGUF version 0: only 2 and 3 can be read"},
      {"Version1", [](RawGguf& f) { f.raw("GGUF").u32(1).u64(0).u64(0); },
       "file: GGUF version 1: only 2 and 3 can be read"},
      {"Version99", [](RawGguf& f) { f.raw("GGUF").u32(99).u64(0).u64(0); },
       "file: GGUF version 99: only 2 and 3 can be read"},
      {"BigEndian", [](RawGguf& f) { f.raw("GGUF").u32(3U << 24).u64(0).u64(0); },
       "file: a big-endian GGUF file, which this machine cannot use"},
      {"OnlyMagicAndVersion", [](RawGguf& f) { f.raw("GGUF").u32(3); },
       "file: the file ends inside the number of tensors (at byte 8 of 8)"},
      {"NoKeyCount", [](RawGguf& f) { f.raw("GGUF").u32(3).u64(0).u32(0); },
       "file: the file ends inside the number of keys (at byte 16 of 20)"},
      {"HugeTensorCount", [](RawGguf& f) { f.header(kHuge, 1).architecture(); },
       "file: states 4611686018427387904 tensors, more than the file can hold (at byte 24)"},
      {"NegativeTensorCount", [](RawGguf& f) { f.header(~std::uint64_t{0}, 1).architecture(); },
       "file: states 18446744073709551615 tensors, more than the file can hold"},
      {"HugeKeyCount", [](RawGguf& f) { f.header(0, kHuge).architecture(); },
       "file: states 4611686018427387904 keys, more than the file can hold (at byte 24)"},
      {"OneKeyTooMany", [](RawGguf& f) { f.header(0, 2).architecture(); },
       "file: the file ends inside the name of key 1 (at byte 69 of 69)"},
      {"NoArchitecture", [](RawGguf& f) { f.header(0, 0); },
       "file: key 'general.architecture' is missing"},
      {"ArchitectureIsANumber",
       [](RawGguf& f) { f.header(0, 1).text("general.architecture").u32(RawGguf::kU32).u32(7); },
       "file: key 'general.architecture' is a u32, not a string"},
      {"ArchitectureWithALineEnd",
       [](RawGguf& f) {
         f.header(0, 1).text("general.architecture").u32(RawGguf::kString).text("ll\nama");
       },
       "file: key 'general.architecture' is not printable ASCII"},
      {"OneOfSeveralParts",
       [](RawGguf& f) {
         f.header(0, 2).architecture().text("split.count").u32(RawGguf::kU32).u32(3);
       },
       "file: one of 3 parts of a model: join them into one file first"},
  };
  return table;
}

const std::vector<BrokenCase>& key_cases() {
  static const std::vector<BrokenCase> table = {
      {"EmptyName", [](RawGguf& f) { f.header(0, 1).text("").u32(RawGguf::kU32).u32(0).zeros(8); },
       "file: key 0 has an empty name"},
      {"HugeName", [](RawGguf& f) { f.header(0, 1).u64(kHuge).zeros(32); },
       "file: the file ends inside the name of key 0 (at byte 24 of 64)"},
      {"LongName",
       [](RawGguf& f) { f.header(0, 1).text(std::string(65536, 'k')).u32(RawGguf::kU32).u32(0); },
       "file: key 0 has a name of more than 65535 bytes"},
      {"NameWithALineEnd",
       [](RawGguf& f) { f.header(0, 1).text("a\nb").u32(RawGguf::kU32).u32(0); },
       "file: key 0 has a name that is not printable ASCII"},
      {"Twice", [](RawGguf& f) { f.header(0, 2).architecture().architecture(); },
       "file: key 'general.architecture' appears twice"},
      {"UnknownType", [](RawGguf& f) { f.header(0, 1).text("k").u32(13).zeros(16); },
       "file: the value of key 'k' has the unknown type 13"},
      {"NegativeType", [](RawGguf& f) { f.header(0, 1).text("k").u32(~0U).zeros(16); },
       "file: the value of key 'k' has the unknown type 4294967295"},
      {"HugeString", [](RawGguf& f) { f.header(0, 1).text("k").u32(RawGguf::kString).u64(kHuge); },
       "file: the file ends inside the value of key 'k'"},
      {"ArrayOfArrays",
       [](RawGguf& f) {
         f.header(0, 1).text("k").u32(RawGguf::kArray).u32(RawGguf::kArray).u64(1).zeros(16);
       },
       "file: the value of key 'k' is an array of arrays"},
      {"ArrayOfUnknownType",
       [](RawGguf& f) { f.header(0, 1).text("k").u32(RawGguf::kArray).u32(77).u64(1).zeros(16); },
       "file: the value of key 'k' has the unknown type 77"},
      {"HugeArray",
       [](RawGguf& f) {
         f.header(0, 1).text("k").u32(RawGguf::kArray).u32(RawGguf::kU32).u64(kHuge).zeros(16);
       },
       "file: the value of key 'k' states 4611686018427387904 elements"},
      {"LongArray",
       [](RawGguf& f) {
         f.header(0, 1).text("k").u32(RawGguf::kArray).u32(RawGguf::kU32).u64(5).zeros(16);
       },
       "file: the file ends inside the value of key 'k'"},
      {"ArrayOfStringsEndsEarly",
       [](RawGguf& f) {
         f.header(0, 1).text("k").u32(RawGguf::kArray).u32(RawGguf::kString).u64(3);
         f.text("one").text("two");
       },
       "file: the file ends inside element 2 of the value of key 'k'"},
      {"ArrayOfHugeStrings",
       [](RawGguf& f) {
         f.header(0, 1).text("k").u32(RawGguf::kArray).u32(RawGguf::kString).u64(2);
         f.u64(kHuge).u64(kHuge);
       },
       "file: the file ends inside element 0 of the value of key 'k'"},
      {"AlignmentIsAString",
       [](RawGguf& f) {
         f.header(0, 2).architecture().text("general.alignment").u32(RawGguf::kString).text("32");
       },
       "file: key 'general.alignment' must be a u32"},
      {"Alignment0",
       [](RawGguf& f) {
         f.header(0, 2).architecture().text("general.alignment").u32(RawGguf::kU32).u32(0);
       },
       "file: key 'general.alignment' is 0, not a power of two of at least 8"},
      {"Alignment1",
       [](RawGguf& f) {
         f.header(0, 2).architecture().text("general.alignment").u32(RawGguf::kU32).u32(1);
       },
       "file: key 'general.alignment' is 1, not a power of two of at least 8"},
      {"Alignment24",
       [](RawGguf& f) {
         f.header(0, 2).architecture().text("general.alignment").u32(RawGguf::kU32).u32(24);
       },
       "file: key 'general.alignment' is 24, not a power of two of at least 8"},
      {"AlignmentBeyondTheFile",
       [](RawGguf& f) {
         f.header(1, 2).architecture().text("general.alignment").u32(RawGguf::kU32).u32(1U << 31);
         f.tensor("w", {4}).pad(32).zeros(16);
       },
       "file: the data of tensor 'w' ends at byte 2147483664, behind the end of the file"},
  };
  return table;
}

const std::vector<BrokenCase>& tensor_cases() {
  static const std::vector<BrokenCase> table = {
      {"NoName",
       [](RawGguf& f) { f.header(1, 1).architecture().tensor("", {4}).pad(32).zeros(16); },
       "file: tensor 0 has an empty name"},
      {"LongName",
       [](RawGguf& f) {
         f.header(1, 1).architecture().tensor(std::string(64, 'w'), {4}).pad(32).zeros(16);
       },
       "file: tensor 0 has a name of 64 bytes, more than 63"},
      {"NameThatIsNoText",
       [](RawGguf& f) { f.header(1, 1).architecture().tensor("w\xff", {4}).pad(32).zeros(16); },
       "file: tensor 0 has a name that is not printable ASCII"},
      {"Twice",
       [](RawGguf& f) {
         f.header(2, 1).architecture().tensor("w", {4}).tensor("w", {4}, 32).pad(32).zeros(64);
       },
       "file: tensor 'w' appears twice"},
      {"NoDimensions",
       [](RawGguf& f) { f.header(1, 1).architecture().tensor("w", {}).pad(32).zeros(64); },
       "file: tensor 'w' has 0 dimensions, not 1 to 4"},
      {"FiveDimensions",
       [](RawGguf& f) {
         f.header(1, 1).architecture().tensor("w", {1, 1, 1, 1, 1}).pad(32).zeros(64);
       },
       "file: tensor 'w' has 5 dimensions, not 1 to 4"},
      {"EmptyDimension",
       [](RawGguf& f) { f.header(1, 1).architecture().tensor("w", {4, 0}).pad(32).zeros(64); },
       "file: tensor 'w' has a dimension of 0"},
      {"NegativeDimension",
       [](RawGguf& f) {
         f.header(1, 1).architecture().tensor("w", {~std::uint64_t{0}}).pad(32).zeros(64);
       },
       "file: tensor 'w' has a dimension of -1"},
      {"ProductOverflows",
       [](RawGguf& f) {
         const std::uint64_t big = std::uint64_t{1} << 32;
         f.header(1, 1).architecture().tensor("w", {big, big}).pad(32).zeros(64);
       },
       "file: tensor 'w' has more elements than can be counted"},
      {"BytesOverflow",
       [](RawGguf& f) { f.header(1, 1).architecture().tensor("w", {kHuge}).pad(32).zeros(64); },
       "file: tensor 'w' is larger than the file"},
      {"LargerThanTheFile",
       [](RawGguf& f) { f.header(1, 1).architecture().tensor("w", {1000}).pad(32).zeros(64); },
       "file: tensor 'w' is larger than the file"},
      {"OneElementBehindTheEnd",
       [](RawGguf& f) { f.header(1, 1).architecture().tensor("w", {5}).pad(32).zeros(16); },
       "file: the data of tensor 'w' ends at byte 148, behind the end of the file (at byte 144)"},
      {"UnknownType",
       [](RawGguf& f) { f.header(1, 1).architecture().tensor("w", {4}, 0, 999).pad(32).zeros(64); },
       "file: tensor 'w' has the unknown type 999"},
      {"NegativeType",
       [](RawGguf& f) { f.header(1, 1).architecture().tensor("w", {4}, 0, ~0U).pad(32).zeros(64); },
       "file: tensor 'w' has the unknown type 4294967295"},
      {"TypeThatWasRemoved",
       [](RawGguf& f) { f.header(1, 1).architecture().tensor("w", {32}, 0, 4).pad(32).zeros(64); },
       "file: tensor 'w' has the unknown type 4"},
      {"PartOfABlock",
       [](RawGguf& f) {
         f.header(1, 1).architecture().tensor("w", {33}, 0, GGML_TYPE_Q8_0).pad(32).zeros(64);
       },
       "file: tensor 'w' has rows of 33 elements, not a multiple of 32 as type q8_0 needs"},
      {"OffsetUnaligned",
       [](RawGguf& f) { f.header(1, 1).architecture().tensor("w", {4}, 1).pad(32).zeros(64); },
       "file: tensor 'w' has offset 1, expected 0"},
      {"OffsetBehindTheEnd",
       [](RawGguf& f) { f.header(1, 1).architecture().tensor("w", {4}, kHuge).pad(32).zeros(64); },
       "file: tensor 'w' has offset 4611686018427387904, expected 0"},
      {"Overlap",
       [](RawGguf& f) {
         f.header(2, 1).architecture().tensor("v", {8}).tensor("w", {8}, 0).pad(32).zeros(64);
       },
       "file: tensor 'w' has offset 0, expected 32"},
      {"Gap",
       [](RawGguf& f) {
         f.header(2, 1).architecture().tensor("v", {8}).tensor("w", {8}, 64).pad(32).zeros(128);
       },
       "file: tensor 'w' has offset 64, expected 32"},
      {"OneTensorTooMany", [](RawGguf& f) { f.header(2, 1).architecture().tensor("w", {4}); },
       "file: the file ends inside the name of tensor 1"},
      {"NoData", [](RawGguf& f) { f.header(1, 1).architecture().tensor("w", {4}); },
       "file: the data of tensor 'w' ends at byte 144, behind the end of the file (at byte 102)"},
  };
  return table;
}

class BrokenGguf : public ::testing::TestWithParam<BrokenCase> {};
const auto name_of = [](const auto& one) { return std::string(one.param.name); };
INSTANTIATE_TEST_SUITE_P(Header, BrokenGguf, ::testing::ValuesIn(header_cases()), name_of);
INSTANTIATE_TEST_SUITE_P(Key, BrokenGguf, ::testing::ValuesIn(key_cases()), name_of);
INSTANTIATE_TEST_SUITE_P(Tensor, BrokenGguf, ::testing::ValuesIn(tensor_cases()), name_of);

TEST_P(BrokenGguf, IsRefused) {
  RawGguf raw;
  GetParam().write(raw);
  std::unique_ptr<std::byte[]> copy;
  const auto file = open_exactly(raw.bytes(), copy);
  ASSERT_FALSE(file.ok());
  const std::string& message = file.error().message;
  EXPECT_TRUE(message.starts_with(GetParam().error)) << message;
  EXPECT_EQ(message.find('\n'), std::string::npos);
}

// A small whole file: keys of several kinds, two tensors.
std::vector<std::byte> good_bytes() {
  GgufWriter writer;
  writer.set_str("general.architecture", "llama");
  writer.set_u32("n", 7);
  writer.set_f32s("f", std::array{1.0F, -0.5F});
  writer.set_strs("s", std::array<std::string, 3>{"one", "", "three"});
  writer.set_bool("b", true);
  const std::vector<float> data(64, 0.25F);
  writer.add_tensor("v", {32, 2}, data, GGML_TYPE_Q8_0);
  writer.add_tensor("w", {3}, std::span(data).first(3), GGML_TYPE_F32);
  return writer.bytes();
}

void expect_refused_or_the_same(std::span<const std::byte> bytes, std::size_t& accepted) {
  std::unique_ptr<std::byte[]> copy;
  const auto file = open_exactly(bytes, copy);
  if (file.ok()) {
    ++accepted;
    EXPECT_EQ(GgufWalk::difference({copy.get(), bytes.size()}, **file), "");
    return;
  }
  const std::string& message = file.error().message;
  EXPECT_TRUE(message.starts_with("file: ")) << message;
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
}

TEST(BrokenGgufSweep, AGoodFileIsReadAsGgmlReadsIt) {
  std::size_t accepted = 0;
  expect_refused_or_the_same(good_bytes(), accepted);
  EXPECT_EQ(accepted, 1U);
  RawGguf no_tensors;
  no_tensors.header(0, 1).architecture();
  expect_refused_or_the_same(no_tensors.bytes(), accepted);
  RawGguf version_2;
  version_2.raw("GGUF").u32(2).u64(1).u64(1).architecture().tensor("w", {4}).pad(32).zeros(16);
  expect_refused_or_the_same(version_2.bytes(), accepted);
  EXPECT_EQ(accepted, 3U);
}

TEST(BrokenGgufSweep, EveryTruncationIsRefused) {
  const auto bytes = good_bytes();
  const std::size_t padding = 32 - 3 * sizeof(float);  // behind the last tensor: nobody reads it
  for (std::size_t n = 0; n < bytes.size() - padding; ++n) {
    std::unique_ptr<std::byte[]> copy;
    EXPECT_FALSE(open_exactly(std::span(bytes).first(n), copy).ok()) << n << " bytes";
  }
  std::size_t accepted = 0;
  expect_refused_or_the_same(std::span(bytes).first(bytes.size() - padding), accepted);
  EXPECT_EQ(accepted, 1U);
}

TEST(BrokenGgufSweep, EveryBitFlipIsRefusedOrReadAsGgmlReadsIt) {
  const auto good = good_bytes();
  std::size_t accepted = 0;
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      auto bytes = good;
      bytes[at] ^= static_cast<std::byte>(1U << bit);
      expect_refused_or_the_same(bytes, accepted);
    }
  }
  EXPECT_GT(accepted, 100U);             // data, texts, numbers
  EXPECT_LT(accepted, good.size() * 8);  // structure
}

// Eight bytes at a time become what counts and lengths go wrong with.
TEST(BrokenGgufSweep, EveryWordAsALimitIsRefusedOrReadAsGgmlReadsIt) {
  const auto good = good_bytes();
  std::size_t accepted = 0;
  for (const std::uint64_t word :
       {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{0x7fffffff}, std::uint64_t{0xffffffff},
        kHuge, std::uint64_t{1} << 63, std::numeric_limits<std::uint64_t>::max()}) {
    for (std::size_t at = 0; at + sizeof(word) <= good.size(); ++at) {
      auto bytes = good;
      std::memcpy(bytes.data() + at, &word, sizeof(word));
      expect_refused_or_the_same(bytes, accepted);
    }
  }
  EXPECT_GT(accepted, 100U);
}

TEST(BrokenGgufSweep, RandomBytesBehindTheMagicAreRefused) {
  std::uint64_t state = 1;
  std::size_t accepted = 0;
  for (int i = 0; i < 2000; ++i) {
    RawGguf raw;
    raw.header(next_random(state) % 3, next_random(state) % 3);
    for (std::uint64_t n = next_random(state) % 64; n > 0; --n) {
      raw.put(static_cast<std::uint8_t>(next_random(state) % 4));
    }
    expect_refused_or_the_same(raw.bytes(), accepted);
  }
  EXPECT_EQ(accepted, 0U);  // no architecture
}

}  // namespace
}  // namespace restkv
