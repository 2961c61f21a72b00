// A model that reads its weights where the file is mapped lets go of them, and reads them again.

#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "model/model.h"
#include "support/process_folder.h"
#include "support/random_model.h"

namespace restkv {
namespace {

constexpr std::size_t kKiB = 1024;

// Bytes of the file that are mapped and in memory for this process.
std::size_t resident_bytes(const std::string& path) {
  std::ifstream maps("/proc/self/smaps");
  std::size_t bytes = 0;
  bool of_file = false;
  for (std::string line; std::getline(maps, line);) {
    if (line.find('-') < line.find(' ')) of_file = line.ends_with(path);  // a mapping's first line
    if (of_file && line.starts_with("Rss:")) bytes += std::stoul(line.substr(4)) * kKiB;
  }
  return bytes;
}

std::uint64_t read_all(const GgufFile& file) {
  std::uint64_t sum = 0;
  for (const TensorData& tensor : file.tensors()) {
    for (std::size_t i = 0; i < tensor.bytes; ++i) {
      sum = sum * 31 + static_cast<std::uint64_t>(tensor.data[i]);
    }
  }
  return sum;
}

TEST(FilePages, AreGivenBackAndComeAgain) {
  RandomModel model = random_llama();
  model.n_vocab = 4000;
  const std::string path = process_file("pages.gguf");
  ASSERT_TRUE(random_model_file(model).write(path).ok());
  const auto file = GgufFile::open(path, {});
  ASSERT_TRUE(file.ok()) << file.error().message;
  const auto loaded = Model::load(*file, {});
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;

  const std::uint64_t sum = read_all(**file);
  const std::size_t tensors = (*file)->file_bytes() - (*file)->file_bytes() / 10;
  EXPECT_GE(resident_bytes(path), tensors);
  (*loaded)->give_back_pages();
  // The keys before the tensors, and what shares a page with them, may stay.
  EXPECT_LT(resident_bytes(path), (*file)->file_bytes() / 10);
  EXPECT_EQ(read_all(**file), sum);
  EXPECT_GE(resident_bytes(path), tensors);
}

}  // namespace
}  // namespace restkv
