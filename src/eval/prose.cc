#include "eval/prose.h"

#include <array>
#include <cctype>
#include <utility>

#include "eval/draws.h"
#include "eval/json_file.h"

namespace restkv {
namespace {

constexpr DataFile kEssayFile = {
    "ruler/PaulGrahamEssays.json",
    "NVIDIA/RULER's scripts/data/synthetic/json (download_paulgraham_essay.py)",
    "the author's; not to be redistributed"};

constexpr std::array kPeople = {
    "The baker",     "My neighbour",  "A retired sailor", "The schoolteacher",
    "Our gardener",  "The old clerk", "A young potter",   "The piano tuner",
    "Her cousin",    "The ferryman",  "The librarian",    "A quiet tailor",
    "The beekeeper", "His aunt",      "The watchmaker",   "The stationmaster"};
constexpr std::array kDeeds = {"used to say that patience is cheaper than glue",
                               "kept a notebook of every mistake worth repeating",
                               "preferred long walks to short arguments",
                               "measured the year by the smell of the orchard",
                               "believed that a good tool teaches its owner",
                               "never threw away a piece of string",
                               "learned more from broken things than from new ones",
                               "wrote letters that nobody was in a hurry to answer",
                               "counted the stairs whenever there was time to think",
                               "lent out books and forgot to ask for them",
                               "mended chairs for people who did not sit still",
                               "found that a second cup of tea settles most disputes",
                               "planted beans in rows that refused to stay straight",
                               "listened to the rain as others listen to music",
                               "thought that maps are kindest where they are blank"};
constexpr std::array kTimes = {
    "In those years",       "Now and then",         "On market days",   "Early in spring",
    "When the wind turned", "After the harvest",    "Before breakfast", "On the way home",
    "As far as I remember", "During the long frost"};
constexpr std::array kRemarks = {
    "Nobody in the valley found this strange.",
    "It was a small habit, but it held the week together.",
    "What mattered was not the result but the care that went into it.",
    "There is a kind of work that only looks like idleness.",
    "I did not understand it then, and I am not sure that I do today.",
    "Most plans are improved by a night of sleep.",
    "The road was longer in winter, though the distance stayed the same.",
    "One learns to see such things only when there is nothing else to do.",
    "A village remembers what a town has time to forget.",
    "It is easier to praise simple things than to make them.",
    "People who hurry seldom arrive with anything worth showing.",
    "The answer, as so often, was to begin again with less."};
constexpr std::array kTurns = {"and", "because", "although", "while", "and so", "until"};
constexpr std::array kClauses = {"the lamp in the window was still burning",
                                 "the river had its own opinion about bridges",
                                 "every door in the street was painted a different colour",
                                 "the clock in the hall ran seven minutes behind",
                                 "there was bread on the table and snow on the roof",
                                 "the children had already gone down to the mill",
                                 "nobody could say who had built the wall",
                                 "the cat had the better chair",
                                 "the letters came by boat or not at all",
                                 "the apples kept until the end of March"};

constexpr std::size_t kOwnWords = 120'000;  // enough for 128K tokens without a repetition
constexpr std::uint64_t kOwnSeed = 1;       // the same prose for everybody

std::string own_sentence(Draws& draws) {
  switch (draws.below(4)) {
    case 0: return draws.of(kRemarks);
    case 1: return std::string(draws.of(kPeople)) + " " + draws.of(kDeeds) + ".";
    case 2:
      return std::string(draws.of(kPeople)) + " " + draws.of(kDeeds) + ", " + draws.of(kTurns) +
             " " + draws.of(kClauses) + ".";
    default: return std::string(draws.of(kTimes)) + " " + draws.of(kClauses) + ".";
  }
}

void append_words(std::string_view text, std::vector<std::string>& words) {
  std::size_t at = 0;
  while (at < text.size()) {
    const auto blank = [&] { return std::isspace(static_cast<unsigned char>(text[at])) != 0; };
    const std::size_t begin = at;
    while (at < text.size() && !blank()) ++at;
    if (at > begin) words.emplace_back(text.substr(begin, at - begin));
    while (at < text.size() && blank()) ++at;
  }
}

Prose own_prose() {
  Prose prose;
  Draws draws(kOwnSeed);
  while (prose.words.size() < kOwnWords) append_words(own_sentence(draws), prose.words);
  prose.source = "own prose";
  return prose;
}

bool begins_sentence(char c) {
  return std::isupper(static_cast<unsigned char>(c)) != 0 ||
         std::isdigit(static_cast<unsigned char>(c)) != 0 || c == '"' || c == '\'';
}

}  // namespace

std::string Prose::first(std::size_t n) const {
  std::string text;
  for (std::size_t i = 0; i < n; ++i) {
    if (i != 0) text += ' ';
    text += words[i % words.size()];
  }
  return text;
}

Result<Prose> load_prose(const TaskRequest& request) {
  const bool wanted = request.material == Material::kPublished ||
                      (request.material == Material::kAuto && has_data(request, kEssayFile));
  if (!wanted) return own_prose();
  RESTKV_ASSIGN(const std::string path, data_path(request, kEssayFile));
  RESTKV_ASSIGN(const nlohmann::json file, read_json_file(path));
  RESTKV_ASSIGN(const std::string text, JsonRecord(file, path).text("text"));
  Prose prose;
  append_words(text, prose.words);
  if (prose.words.empty()) return Error{ErrorCode::kCorrupt, path + ": field 'text' has no word"};
  prose.source = "the essays";
  return prose;
}

std::vector<std::size_t> sentence_ends(std::string_view text) {
  std::vector<std::size_t> ends;
  for (std::size_t i = 0; i + 2 < text.size(); ++i) {
    if (text[i] != '.' && text[i] != '?' && text[i] != '!') continue;
    std::size_t end = i + 1;
    if (text[end] == '"' || text[end] == '\'') ++end;
    if (end + 1 < text.size() && text[end] == ' ' && begins_sentence(text[end + 1])) {
      ends.push_back(end);
    }
  }
  ends.push_back(text.size());
  return ends;
}

}  // namespace restkv
