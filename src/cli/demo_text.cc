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

// A fact that nobody could guess, among others of the same kind.
struct Fact {
  const char* text;
  const char* question;
  const char* answer;
};
constexpr Fact kFacts[] = {
    {"Note: the code of the strongbox in the customs house is 48213.",
     "What is the code of the strongbox in the customs house?", "48213"},
    {"Note: the pilot's dog, a grey poodle, is called Wellington.", "", ""},
    {"Note: the spare key of the lighthouse lies under the ninth step.", "", ""},
    {"Note: the harbour feast was moved to the 27th of August.", "", ""},
};

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

DemoText make_demo_text(std::size_t entries, std::uint64_t seed) {
  Draw draw(seed);
  constexpr std::size_t kFactCount = std::size(kFacts);
  DemoText demo{.document = "Logbook of the harbour\n\n",
                .question = kFacts[0].question,
                .answer = kFacts[0].answer};
  for (std::size_t i = 0; i < entries; ++i) {
    char line[256];
    std::snprintf(line, sizeof(line), "Day %zu: %s. The %s came in with %zu loads of %s. %s\n",
                  i + 1, draw.of(kWeather), draw.of(kShips), 2 + draw.below(60), draw.of(kCargo),
                  draw.of(kWork));
    demo.document += line;
    // Facts stand at even distances, the one that is asked for at two fifths of the text.
    for (std::size_t f = 0; f < kFactCount; ++f) {
      if (i == entries * (2 + 2 * f) / (2 * kFactCount + 3)) {
        demo.document += std::string(kFacts[f].text) + "\n";
      }
    }
  }
  return demo;
}

}  // namespace restkv
