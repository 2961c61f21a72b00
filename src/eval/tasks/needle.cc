// Needle in a haystack (G. Kamradt's pressure test in the form of the eviction papers): one
// sentence that does not belong into the text, at ten depths, for a heat map of depth and length.
// Sentence, question and wrapper are ours. The needle stands between two sentences.

#include <algorithm>
#include <array>
#include <utility>

#include "eval/generate.h"
#include "eval/prose.h"
#include "eval/tasks/ruler_common.h"

namespace restkv {
namespace {

// A sentence is opening + " " + predicate; the metric looks for the words of the predicate.
struct Needle {
  std::string_view opening;
  std::string_view predicate;
};
constexpr std::array kNeedles = {
    Needle{"The best way to spend a free afternoon in Lisbon is",
           "to ride the yellow tram uphill and share warm custard tarts beside the aqueduct."},
    Needle{"The most pleasant thing to do on a rainy day in Bergen is",
           "to climb the wooden tower and listen to a brass band playing under umbrellas."},
    Needle{"The surest way to find rest in Kyoto is",
           "to feed the grey carp at dawn and drink roasted tea on the temple steps."},
    Needle{"The finest treat for a traveller in Trieste is",
           "to swim off the long pier and eat plum dumplings in a bookshop cellar."},
};
// linspace(0, 100, 10), rounded: percent of the text. Ordered so that the first few samples are
// spread over the text as well.
constexpr std::array<std::size_t, 10> kDepths = {0, 100, 44, 78, 22, 56, 11, 89, 33, 67};

constexpr std::string_view kHead =
    "Read the book below and answer the question about it.\n<text>\n";
constexpr std::string_view kQuestion =
    "\n</text>\nQuestion: Complete the sentence with the words of the text: {opening} ...\n";
constexpr std::string_view kPrefix = "Answer: {opening}";

// The needle goes behind the last sentence that ends before the depth.
std::string with_needle(const std::string& text, const std::string& needle, std::size_t depth) {
  if (depth == 0) return needle + "\n" + text;
  if (depth == 100) return text + "\n" + needle;
  const std::vector<std::size_t> ends = sentence_ends(text);
  const std::size_t wanted = text.size() * depth / 100;
  const auto behind = std::ranges::upper_bound(ends, wanted);
  if (behind == ends.begin()) return needle + "\n" + text;  // no sentence ends so early
  const std::size_t place = *(behind - 1);
  return text.substr(0, place) + "\n" + needle + "\n" +
         text.substr(std::min(place + 1, text.size()));
}

Result<std::vector<TaskSample>> make(const TaskInfo& task, const TaskRequest& request,
                                     std::size_t length) {
  RESTKV_ASSIGN(const Prose prose, load_prose(request));
  const Generator generator = {
      .step = 50,
      .least = 40,
      .source = prose.source,
      .make =
          [&](Draws& /*draws*/, std::size_t index, std::size_t words) {
            const Needle& needle = kNeedles[index / kDepths.size() % kNeedles.size()];
            const std::size_t depth = kDepths[index % kDepths.size()];
            const std::string sentence =
                std::string(needle.opening) + " " + std::string(needle.predicate);
            TaskSample sample;
            sample.context = std::string(kHead) + with_needle(prose.first(words), sentence, depth);
            sample.question = filled(kQuestion, {{"{opening}", needle.opening}});
            sample.answer_prefix = filled(kPrefix, {{"{opening}", needle.opening}});
            sample.answers = {std::string(needle.predicate)};
            sample.depth = static_cast<double>(depth);
            return sample;
          },
  };
  RESTKV_ASSIGN(std::vector<TaskSample> samples,
                generate_samples(task, request, length, generator));
  for (TaskSample& sample : samples) sample.stops = {"\n"};
  return samples;
}

constexpr TaskInfo kTasks[] = {{
    .name = "needle/grid",
    .category = "retrieval",
    .summary = "a sentence at ten depths of a long text (heat map)",
    .metric = "needle_recall",
    .max_new_tokens = 30,
    .samples = kDepths.size(),
    .needs_length = true,
    .make = make,
}};

}  // namespace

extern const TaskFamily needle_tasks;
constinit const TaskFamily needle_tasks{.suite = "needle", .tasks = kTasks};

}  // namespace restkv
