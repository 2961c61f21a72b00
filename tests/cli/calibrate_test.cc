// Tables of block sizes as a user makes and uses them. The tiny model has 2 layers and 1 KV head.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/json_runs.h"
#include "cli/program.h"

namespace restkv::testing {
namespace {

using nlohmann::json;

TEST(Calibrate, MakesATableThatOnlyItsModelTakes) {
  const std::string path = scratch_folder() + "/table.json";
  const ProgramEnd end = run_program(
      {"calibrate", "-m", scratch_folder() + "/tiny.gguf", "-f", scratch_folder() + "/text.txt",
       "-o", path, "--passages", "1", "--held-back", "0", "--tokens", "1000", "-t", "1",
       "--decode-attn", "ab-sparse:dense-layers=0", "--decode-budget", "20%"});
  ASSERT_EQ(end.status, 0) << end.err;
  // 20 % are 200 rows: less than three blocks of the largest size.
  EXPECT_NE(end.out.find("attention caught on 1 passages, 384 of 1000 rows read (budget 20%):"),
            std::string::npos)
      << end.out;
  EXPECT_NE(end.out.find("1 passages of text.txt measured, harmonic mean 32, quest"),
            std::string::npos)
      << end.out;
  std::ifstream file(path);
  json table = json::parse(file, nullptr, /*allow_exceptions=*/false);
  ASSERT_TRUE(table.is_object());
  EXPECT_EQ(table["model"], "tiny");
  EXPECT_EQ(table["texts"], "text.txt");
  EXPECT_EQ(table["mean"], "harmonic");
  EXPECT_EQ(table["estimator"], "quest");
  EXPECT_EQ(table["summaries"], "int4");
  EXPECT_EQ(table["budget"], "20%");
  EXPECT_EQ(table["rows"], 384);
  EXPECT_EQ(table["held_back"], 0);
  ASSERT_EQ(table["block_rows"].size(), 2U);
  double inverse = 0;
  for (const json& layer : table["block_rows"]) inverse += 1.0 / layer[0].get<double>();
  EXPECT_LE(inverse, 2.0 / 32);
  EXPECT_GT(table["recall"], 0);
  EXPECT_LE(table["recall"], 1);

  const std::vector<std::string> with_table = {"--decode-attn", "ab-sparse:dense-layers=0",
                                               "--decode-table", path};
  const json decode = run_json(with_table)["decode"];
  EXPECT_EQ(decode["table"], path);
  EXPECT_EQ(decode["block_sizes"],
            "a block size for each head, harmonic mean 32, measured on text.txt");
  EXPECT_EQ(decode["table_mean"], "harmonic");
  EXPECT_EQ(decode["table_mean_rows"], 32);
  EXPECT_EQ(decode["table_texts"], "text.txt");
  EXPECT_FALSE(decode["options"].contains("block"));  // no head asks for it
  std::vector<std::string> for_people = run_arguments(with_table);
  std::erase(for_people, "--json");
  EXPECT_NE(run_program(for_people).err.find("harmonic mean 32, measured on text.txt: "),
            std::string::npos);
  table["fingerprint"] = "0123456789abcdef";
  std::ofstream(path) << table.dump();
  expect_refused(run_arguments(with_table), "another model");
}

// A paragraph of a made SQuAD file.
std::string paragraph(int number) {
  const std::string n = std::to_string(number);
  return "The bridge of town " + n + " was built in the year " + std::to_string(1200 + number) +
         " by a mason whose name nobody wrote down; its toll was " + n + " pence.";
}

// The paragraphs of a data folder's SQuAD file, and as many held back as the rest of it gives.
TEST(Calibrate, HoldsBackWhatTheTextHas) {
  const std::string folder = scratch_folder() + "/squad_data";
  std::filesystem::create_directories(folder + "/ruler");
  json paragraphs = json::array();
  std::string text;
  for (int i = 0; i < 200; ++i) {
    paragraphs.push_back({{"context", paragraph(i)}, {"qas", json::array()}});
    text += paragraph(i) + "\n\n";
  }
  std::ofstream(folder + "/ruler/squad_dev_v2.0.json")
      << json({{"data", {{{"title", "Bridges"}, {"paragraphs", paragraphs}}}}}).dump();
  std::ofstream(folder + "/text.txt") << text;
  const ProgramEnd read =
      run_program({"run", "-m", scratch_folder() + "/tiny.gguf", "--raw", "-f",
                   folder + "/text.txt", "-n", "1", "-t", "1", "--json", "-c", "100000"});
  ASSERT_EQ(read.status, 0) << read.err;
  const auto tokens = json::parse(read.out)["usage"]["prompt_tokens"].get<std::size_t>();
  const std::size_t size = tokens / 54;  // 54 passages or a few more: not 50 + 10
  ASSERT_GE(size, 65U) << tokens;
  ASSERT_LT(tokens / size, 60U);
  const std::string path = scratch_folder() + "/squad_table.json";
  const auto calibrate = [&](const std::vector<std::string>& more) {
    std::vector<std::string> args = {"calibrate",
                                     "-m",
                                     scratch_folder() + "/tiny.gguf",
                                     "--data",
                                     folder,
                                     "-o",
                                     path,
                                     "-t",
                                     "1",
                                     "--decode-attn",
                                     "ab-sparse:dense-layers=0",
                                     "--tokens",
                                     std::to_string(size)};
    args.insert(args.end(), more.begin(), more.end());
    return run_program(args);
  };
  const auto table = [&] {
    std::ifstream file(path);
    return json::parse(file, nullptr, /*allow_exceptions=*/false);
  };
  const std::size_t rest = tokens / size - 50;
  const ProgramEnd usual = calibrate({});
  ASSERT_EQ(usual.status, 0) << usual.err;
  EXPECT_EQ(table()["texts"], "squad_dev_v2.0.json");
  EXPECT_EQ(table()["passages"], 50);
  EXPECT_EQ(table()["held_back"], rest);
  EXPECT_NE(usual.out.find("on " + std::to_string(rest) + " passages held back"), std::string::npos)
      << usual.out;
  // Never more than ten unless they are asked for, and never none.
  ASSERT_EQ(calibrate({"--passages", "2"}).status, 0);
  EXPECT_EQ(table()["held_back"], 10);
  ASSERT_EQ(calibrate({"--passages", "2", "--held-back", "11"}).status, 0);
  EXPECT_EQ(table()["held_back"], 11);
  const std::string all = std::to_string(tokens / size);
  const ProgramEnd none_left = calibrate({"--passages", all});
  EXPECT_EQ(none_left.status, 1) << none_left.out;
  EXPECT_NE(none_left.err.find(" need " + std::to_string((tokens / size + 1) * size)),
            std::string::npos)
      << none_left.err;
  ASSERT_EQ(calibrate({"--passages", all, "--held-back", "0"}).status, 0);
  EXPECT_EQ(table()["held_back"], 0);
  // A file by name goes before the folder.
  ASSERT_EQ(calibrate({"--passages", "2", "-f", folder + "/text.txt"}).status, 0);
  EXPECT_EQ(table()["texts"], "text.txt");
}

TEST(Calibrate, WithoutAFileItReadsTextOfOurOwnAndSaysSo) {
  const std::string path = scratch_folder() + "/own_table.json";
  const ProgramEnd end =
      run_program({"calibrate", "-m", scratch_folder() + "/tiny.gguf", "-o", path, "--passages",
                   "1", "--held-back", "0", "--tokens", "100", "-t", "1", "--decode-attn",
                   "ab-sparse:dense-layers=0"});
  ASSERT_EQ(end.status, 0) << end.err;
  EXPECT_NE(end.out.find("built-in logbook"), std::string::npos) << end.out;
  std::ifstream file(path);
  EXPECT_EQ(json::parse(file)["texts"], "built-in logbook");
}

// A table holds for the boxes that it was measured with, and leaves no size to ask for.
TEST(Calibrate, ATableAndTheCommandMustAgree) {
  const std::string path = scratch_folder() + "/arkvale_table.json";
  ASSERT_EQ(run_program({"calibrate", "-m", scratch_folder() + "/tiny.gguf", "-f",
                         scratch_folder() + "/text.txt", "-o", path, "--passages", "1",
                         "--held-back", "0", "--tokens", "500", "-t", "1", "--mean", "arithmetic",
                         "--decode-attn", "ab-sparse:dense-layers=0:estimator=arkvale"})
                .status,
            0);
  const auto with = [&](const std::string& method) {
    std::vector<std::string> args =
        run_arguments({"--decode-attn", method, "--decode-table", path});
    args[2] = "/nowhere.gguf";  // refused before it is looked for
    return args;
  };
  expect_refused(with("ab-sparse"), "estimator=arkvale");
  expect_refused(with("ab-sparse:estimator=arkvale:block=64"), "block=64");
  const std::vector<std::string> agreed = {
      "--decode-attn", "ab-sparse:dense-layers=0:estimator=arkvale", "--decode-table", path};
  EXPECT_EQ(run_json(agreed)["decode"]["table_mean"], "arithmetic");
  // A file that does not say how it was made is taken, and the answer says that it does not.
  std::ifstream file(path);
  json table = json::parse(file);
  for (const char* field : {"estimator", "summaries", "mean", "mean_rows", "rows", "texts"}) {
    EXPECT_EQ(table.erase(field), 1U) << field;
  }
  std::ofstream(path) << table.dump();
  const json decode =
      run_json({"--decode-attn", "ab-sparse:dense-layers=0", "--decode-table", path})["decode"];
  EXPECT_EQ(decode["table_mean"], "");
  EXPECT_EQ(decode["block_sizes"],
            "a block size for each head, of a mean that the table does not name, measured on texts "
            "that the table does not name");
}

std::vector<std::string> calibrate_to(const std::string& path) {
  return {"calibrate",
          "-m",
          scratch_folder() + "/tiny.gguf",
          "-f",
          scratch_folder() + "/text.txt",
          "-o",
          path,
          "--passages",
          "1",
          "--held-back",
          "0",
          "--tokens",
          "500",
          "-t",
          "1",
          "--decode-attn",
          "ab-sparse:dense-layers=0"};
}

// Before hours of work, and before the model is looked for.
TEST(Calibrate, ATableThatCannotBeWrittenIsKnownFirst) {
  std::filesystem::create_directories(scratch_folder() + "/folder");
  for (const std::string& path :
       {scratch_folder() + "/nowhere/table.json", scratch_folder() + "/folder"}) {
    std::vector<std::string> args = calibrate_to(path);
    args[2] = "/nowhere.gguf";
    const ProgramEnd end = run_program(args);
    EXPECT_EQ(end.status, 1);
    EXPECT_TRUE(end.err.starts_with("restkv: " + path + ": ")) << end.err;
  }
}

// The table beside a model: the folder is known when the model is.
TEST(Calibrate, AFolderOfAModelThatCannotBeWrittenIsKnownBeforeThePassages) {
  const std::string model = scratch_folder() + "/folder/tiny.gguf";
  std::filesystem::create_directories(scratch_folder() + "/folder");
  std::filesystem::copy_file(scratch_folder() + "/tiny.gguf", model,
                             std::filesystem::copy_options::overwrite_existing);
  const std::string table = model + ".blocks.json";
  std::filesystem::create_directories(table);
  std::vector<std::string> args = calibrate_to("");
  args[2] = model;
  args.erase(args.begin() + 5, args.begin() + 7);   // -o
  args.insert(args.end(), {"--passages", "9999"});  // more than there are: not what it says
  expect_refused(args, table + ": Is a directory");
  std::filesystem::remove(table);
}

// A look whether a file can be written leaves no file.
TEST(Calibrate, NothingIsLeftOfATableThatWasNotMade) {
  const std::string path = scratch_folder() + "/never.json";
  std::vector<std::string> args = calibrate_to(path);
  args.insert(args.end(), {"--passages", "9999"});
  expect_refused(args, "the text has ");
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_FALSE(std::filesystem::exists(path + ".part"));
}

TEST(Calibrate, APassageFitsIntoTheContext) {
  std::vector<std::string> args = calibrate_to(scratch_folder() + "/context.json");
  args.insert(args.end(), {"-c", "499"});
  const ProgramEnd typed = run_program(args);
  EXPECT_EQ(typed.status, 2);
  EXPECT_EQ(typed.err,
            "restkv: a passage has 500 tokens and the context 499; --tokens gives shorter ones, -c "
            "a longer context\n");
  args.back() = "500";
  EXPECT_EQ(run_program(args).status, 0);
  // What the model was trained for, where -c says nothing.
  std::vector<std::string> untold = calibrate_to(scratch_folder() + "/context.json");
  untold.insert(untold.end(), {"--tokens", "4097"});
  expect_refused(untold, "a passage has 4097 tokens and the context 4096;");
}

TEST(Calibrate, SaysWhatIsWrong) {
  const std::string model = scratch_folder() + "/tiny.gguf";
  const std::string text = scratch_folder() + "/text.txt";
  expect_refused({"calibrate", "-m", model, "-f", text, "--passages", "9999"}, "tokens");
  expect_refused({"calibrate", "-m", model, "-f", text, "--decode-attn", "quest", "--passages", "1",
                  "--held-back", "0", "--tokens", "100"},
                 "takes no table");
  expect_refused({"calibrate", "-m", model, "-f", text, "--passages", "1", "--held-back", "0",
                  "--tokens", "100"},
                 "nothing to measure");  // both layers of the tiny model are read whole
  expect_refused({"calibrate", "--mean", "geometric"}, "harmonic, arithmetic");
  expect_refused({"calibrate", "-m", "/nowhere.gguf", "--decode-attn", "ab-sparse:block=64"},
                 "block=64");
  expect_refused({"calibrate", "-m", "/nowhere.gguf", "--data", scratch_folder() + "/nowhere"},
                 "ruler/squad_dev_v2.0.json is missing in the data folder");
}

}  // namespace
}  // namespace restkv::testing
