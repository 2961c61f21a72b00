#pragma once

// Questions about documents, for RULER's qa tasks: SQuAD, HotpotQA, or documents of our own about
// towns that do not exist.

#include <cstddef>
#include <string>
#include <vector>

#include "eval/task.h"
#include "restkv/result.h"

namespace restkv {

struct DocumentQuestion {
  std::string question;
  std::vector<std::string> answers;
  std::vector<std::size_t> gold;  // documents that hold the answer, the needed ones first
  std::vector<std::size_t> more;  // others of the same article, to be shown before random ones
};

struct DocumentSet {
  std::vector<std::string> documents;  // unique
  std::vector<DocumentQuestion> questions;
  std::string source;
};

// ruler/squad_dev_v2.0.json: every paragraph; the questions that can be answered, in file order.
Result<DocumentSet> load_squad(const TaskRequest& request);
bool has_squad(const TaskRequest& request);
// Of that file. As data_path().
Result<std::string> squad_path(const TaskRequest& request);

// ruler/hotpot_dev_distractor.json, or its first hundred questions in
// ruler/hotpot_dev_distractor_100.json.
Result<DocumentSet> load_hotpot(const TaskRequest& request);
bool has_hotpot(const TaskRequest& request);

// `towns` documents about towns and as many about the people who built their bridges. One hop asks
// for a fact of a town, two hops for a fact about its builder.
enum class Hops : std::uint8_t { kOne, kTwo };
DocumentSet own_documents(std::size_t towns, Hops hops, std::uint64_t seed);

}  // namespace restkv
