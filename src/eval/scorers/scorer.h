#pragma once

// What a prediction is worth. A scorer compares a prediction with the right answers of its sample
// as the benchmark it comes from does; the sources are named in docs/scorers.md. To add one: an
// entry in a file of this folder, and its test.

#include <span>
#include <string>
#include <string_view>

#include "restkv/result.h"

namespace restkv {

class ChineseWords;  // eval/chinese_words.h

struct ScoringRequest {
  std::string_view prediction = {};  // any bytes; what is no UTF-8 counts as U+FFFD
  std::span<const std::string> answers =
      {};  // at least one, in the form that the scorer's summary names
  std::span<const std::string> classes = {};    // every label there is, in the data set's order
  const ChineseWords* chinese_words = nullptr;  // for scorers that need them
};

struct Score {
  double value = 0;      // 0 .. 1
  bool answered = true;  // false: the prediction is blank, or holds nothing that could be compared
};

// A scorer's entry. Constant data.
struct ScorerInfo {
  std::string_view name;  // "qa_f1"; a promise: changed behaviour = new name
  std::string_view summary;
  bool needs_chinese_words = false;
  // Called by score() only, once everything that the entry needs is there.
  Result<Score> (*score)(const ScoringRequest& request) = nullptr;
};

// The scorers of one file. Constant data.
struct ScorerFamily {
  std::string_view source;  // the code that they agree with
  std::span<const ScorerInfo> scorers;
};

// Generated from the files of src/eval/scorers, in their order.
std::span<const ScorerFamily* const> all_scorer_families();

// An unknown name is kInvalidArgument; the message lists the known ones.
Result<const ScorerInfo*> find_scorer(std::string_view name);

// Deterministic; several threads may score at once. Where a sample has several answers the best
// match counts, unless the summary says otherwise. kInvalidArgument: no answer, or one that is not
// in the scorer's form; kNotFound: no Chinese words where they are needed; kUnsupported: texts so
// long that comparing them would take minutes.
Result<Score> score(const ScorerInfo& scorer, const ScoringRequest& request);

// The part of a prediction that LongBench scores in its few-shot sets (trec, triviaqa, samsum,
// lsht): without leading line feeds, up to the next one. A view into `prediction`.
[[nodiscard]] std::string_view first_answer_line(std::string_view prediction);

}  // namespace restkv
