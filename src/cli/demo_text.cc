#include "cli/demo_text.h"

#include <array>
#include <cstdio>

#include "base/random.h"

namespace restkv {
namespace {

constexpr std::array kShips = {"Albatros", "Marguerite", "Northern Star", "Ilse",       "Fortuna",
                               "Seagull",  "Old Henry",  "Borealis",      "Clementine", "Petrel"};
constexpr std::array kCargo = {"timber",   "salted herring", "roof tiles", "wool",       "barley",
                               "lamp oil", "rope",           "apples",     "iron nails", "coal"};
constexpr std::array kWeather = {"light rain", "clear skies", "a stiff wind from the west",
                                 "fog",        "a calm sea",  "hail before noon",
                                 "low clouds", "sunshine"};
constexpr std::array kWork = {"The crane was greased.",
                              "Two nets were mended on the quay.",
                              "The harbour master checked the ropes.",
                              "A lantern was replaced.",
                              "The ice house was swept.",
                              "Children fished from the pier.",
                              "The scales were tested and found true.",
                              "The bell rope was renewed."};

constexpr const char* kQuestion = "What is the code of the strongbox in the customs house?";
constexpr const char* kAnswer = "48213";

class Draw {
 public:
  explicit Draw(std::uint64_t seed) : state_(seed) {}
  std::size_t below(std::size_t n) { return static_cast<std::size_t>(next_random(state_) % n); }
  template <typename List>
  const char* of(const List& list) {
    return list[below(list.size())];
  }

 private:
  std::uint64_t state_;
};

}  // namespace

std::string make_logbook(std::size_t entries, std::uint64_t seed,
                         std::span<const HiddenLine> hidden) {
  Draw draw(seed);
  std::string text = "Logbook of the harbour\n\n";
  const auto add_hidden = [&](std::size_t before_entry) {
    for (const HiddenLine& line : hidden) {
      const auto at = static_cast<std::size_t>(line.depth * static_cast<double>(entries));
      if (at == before_entry) text += line.text + "\n";
    }
  };
  for (std::size_t i = 0; i < entries; ++i) {
    add_hidden(i);
    char line[256];
    std::snprintf(line, sizeof(line), "Day %zu: %s. The %s came in with %zu loads of %s. %s\n",
                  i + 1, draw.of(kWeather), draw.of(kShips), 2 + draw.below(60), draw.of(kCargo),
                  draw.of(kWork));
    text += line;
  }
  add_hidden(entries);
  return text;
}

DemoText make_demo_text(std::size_t entries, std::uint64_t seed) {
  // A fact that nobody could guess, among others of the same kind.
  const HiddenLine hidden[] = {
      {"Note: the pilot's dog, a grey poodle, is called Wellington.", 0.2},
      {"Note: the code of the strongbox in the customs house is 48213.", 0.4},
      {"Note: the spare key of the lighthouse lies under the ninth step.", 0.6},
      {"Note: the harbour feast was moved to the 27th of August.", 0.8},
  };
  return {
      .document = make_logbook(entries, seed, hidden), .question = kQuestion, .answer = kAnswer};
}

}  // namespace restkv
