#include "eval/words.h"

#include <algorithm>
#include <array>
#include <set>
#include <string_view>
#include <utility>

#include "eval/json_file.h"
#include "eval/unicode_text.h"

namespace restkv {
namespace {

constexpr std::string_view kOrigin =
    "NVIDIA/RULER's synthetic data (the word lists of the Python package wonderwords)";
constexpr DataFile kAdjectiveFile = {"ruler/adjectivelist.txt", kOrigin, "MIT"};
constexpr DataFile kNounFile = {"ruler/nounlist.txt", kOrigin, "MIT"};
constexpr DataFile kVerbFile = {"ruler/verblist.txt", kOrigin, "MIT"};

constexpr std::string_view kAdjectives =
    "amber ancient arctic bashful bitter blue bold brave brief bright brisk broad bronze busy calm "
    "careful cheerful chilly clever cloudy cosy crimson crisp curious dapper daring dark deep "
    "distant dusty eager early earnest easy elder empty faint faithful famous fancy fearless "
    "fierce "
    "final fine firm fluffy foggy fond fragile frank fresh frosty gentle giant glad gleaming "
    "golden "
    "grand grateful green grey handy happy hardy harsh hasty hazy hearty hidden hollow honest "
    "humble "
    "hungry icy idle jolly keen kind lame large late lazy lively lonely loud lovely loyal lucky "
    "mellow merry mighty mild misty modest muddy narrow neat nimble noble northern odd old orange "
    "pale patient plain playful polite proud purple quaint quick quiet rapid rare ready red robust "
    "rough round royal rustic rusty salty scarlet secret serious shady sharp shiny shy silent "
    "silver "
    "simple sleepy slender slow small smooth snowy soft solid southern spare spicy steady steep "
    "sturdy sunny sweet swift tall tame tender thirsty thorny tidy tiny tired tough tranquil upper "
    "vast velvet violet warm wary western white wide wild windy wise wooden young";
constexpr std::string_view kNouns =
    "acorn almond anchor anvil apple apron arrow atlas attic badge badger bakery balcony ballad "
    "banjo barley barn barrel basin basket beacon beaver bell bench bicycle blanket blossom boat "
    "bottle bowl branch brick bridge broom bucket buckle butter button cabin cable cactus camel "
    "candle canoe canvas canyon caravan carpet carrot castle cedar cellar chain chair chalk cherry "
    "chest chimney cider circus clay cliff clock cloud clover coast comb comet compass copper "
    "coral "
    "corner cotton cradle crane creek cricket crown cup curtain cushion daisy dance deck desert "
    "desk "
    "diamond dolphin donkey door dragon drawer drum eagle easel echo elbow elm engine falcon "
    "feather "
    "fence ferry fiddle field finch fire flag flask flute forest fork fountain fox garden garlic "
    "gate "
    "ginger glacier glove goat grain granite grape guitar hammer hammock harbour harp hat hazel "
    "hedge "
    "helmet heron hill hinge honey horn horse island ivory jacket jar jewel kettle kite kitten "
    "ladder "
    "lagoon lamp lantern lark lemon lentil letter lighthouse lily linen lizard locket magnet mango "
    "maple marble market marsh mast meadow medal melon mill mirror monkey moon moss mountain "
    "museum "
    "needle nest nutmeg oak oar ocean olive onion orchard otter owl oyster paddle palace pantry "
    "paper "
    "parade parrot path peach pearl pebble pepper piano picnic pigeon pillow pilot pine planet "
    "plate "
    "plough plum pocket pond poppy postcard potato quarry quilt rabbit radish raft railway ribbon "
    "river rocket roof rope rose saddle sail salmon sandal saucer scarf school seal shell shovel "
    "signal spider sponge spoon stable staircase star statue stone stove street sunset swan table "
    "temple thimble thistle throne ticket tiger timber torch tower tractor train tree trumpet "
    "tulip "
    "tunnel turtle umbrella valley vase village violin waffle wagon wallet walnut wheel whistle "
    "willow "
    "window winter wolf workshop yarn zebra";
constexpr std::string_view kVerbs =
    "admire agree answer arrange arrive bake balance begin believe borrow build carry catch "
    "celebrate "
    "choose climb collect compare cook count dance decide deliver describe dig discover draw dream "
    "drift enjoy explain explore fetch float follow forget gather greet grow guess hurry imagine "
    "improve invite juggle jump knit laugh learn listen measure mend mix notice observe offer "
    "paint "
    "plant polish practise prepare promise pull question reach remember repair rescue rest return "
    "row sail scatter search share sing sketch sleep solve stir study swim teach travel trust "
    "visit "
    "wait walk wander watch weave whisper wonder write yawn";

constexpr std::array<std::string_view, 16> kOnsets = {"b", "d", "f", "g", "k",  "l",  "m",  "n",
                                                      "p", "r", "s", "t", "br", "dr", "st", "tr"};
constexpr std::array<std::string_view, 5> kVowels = {"a", "e", "i", "o", "u"};
constexpr std::array<std::string_view, 4> kEnds = {"n", "l", "r", "m"};

void sort_unique(std::vector<std::string>& list) {
  std::ranges::sort(list);
  list.erase(std::ranges::unique(list).begin(), list.end());
}

std::string_view stripped(std::string_view piece) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const std::size_t first = piece.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return piece.substr(first, piece.find_last_not_of(kBlanks) - first + 1);
}

// Pieces between the separators, without blanks at both ends; empty ones are left out.
std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> pieces;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(separator), text.size());
    const std::string_view piece = stripped(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!piece.empty()) pieces.emplace_back(piece);
  }
  sort_unique(pieces);
  return pieces;
}

// A prompt of any other encoding would be no text for a model.
Result<void> check_lines(const std::string& path, std::string_view text) {
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20; };
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const bool utf8 = utf8_text(code_points(line)) == line;
    if (utf8 && std::ranges::none_of(stripped(line), is_control)) continue;
    return Error{ErrorCode::kCorrupt,
                 path + ", line " + std::to_string(number) +
                     (utf8 ? ": holds control characters" : ": is no text in UTF-8")};
  }
  return {};
}

Result<std::vector<std::string>> load_list(const TaskRequest& request, const DataFile& file) {
  RESTKV_ASSIGN(const std::string path, data_path(request, file));
  RESTKV_ASSIGN(const std::string text, read_data_text(path));
  RESTKV_TRY(check_lines(path, text));
  std::vector<std::string> words = split(text, '\n');
  if (words.empty()) return Error{ErrorCode::kCorrupt, path + ": holds no word"};
  return words;
}

}  // namespace

Result<WordLists> load_word_lists(const TaskRequest& request) {
  const bool there = has_data(request, kAdjectiveFile) && has_data(request, kNounFile) &&
                     has_data(request, kVerbFile);
  if (request.material == Material::kPublished || (request.material == Material::kAuto && there)) {
    WordLists lists;
    RESTKV_ASSIGN(lists.adjectives, load_list(request, kAdjectiveFile));
    RESTKV_ASSIGN(lists.nouns, load_list(request, kNounFile));
    RESTKV_ASSIGN(lists.verbs, load_list(request, kVerbFile));
    lists.source = "RULER's word lists";
    return lists;
  }
  return WordLists{.adjectives = split(kAdjectives, ' '),
                   .nouns = split(kNouns, ' '),
                   .verbs = split(kVerbs, ' '),
                   .source = "own words"};
}

std::string invented_word(std::size_t i) {
  // Three syllables and a last letter, scattered over the alphabet.
  constexpr std::size_t kAll = std::size_t{80} * 80 * 80 * 4;
  std::size_t code = i * 1'000'003 % kAll;  // the factor has no divisor in common with kAll
  std::string word;
  for (int syllable = 0; syllable < 3; ++syllable) {
    word += kOnsets[code % kOnsets.size()];
    code /= kOnsets.size();
    word += kVowels[code % kVowels.size()];
    code /= kVowels.size();
  }
  word += kEnds[code];
  return word;
}

std::string draw_word_key(const WordLists& lists, Draws& draws) {
  const std::string& adjective = draws.of(lists.adjectives);
  return adjective + "-" + draws.of(lists.nouns);
}

std::vector<std::string> vocabulary_of(const WordLists& lists, std::size_t least) {
  std::vector<std::string> words = lists.nouns;
  words.insert(words.end(), lists.adjectives.begin(), lists.adjectives.end());
  words.insert(words.end(), lists.verbs.begin(), lists.verbs.end());
  sort_unique(words);
  const std::set<std::string> known(words.begin(), words.end());
  for (std::size_t i = 0; words.size() < least; ++i) {
    std::string word = invented_word(i);
    if (!known.contains(word)) words.push_back(std::move(word));
  }
  return words;
}

}  // namespace restkv
