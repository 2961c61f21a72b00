#include "eval/tasks/ruler_qa_common.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <utility>

#include "eval/draws.h"
#include "eval/json_file.h"
#include "eval/words.h"

namespace restkv {
namespace {

constexpr DataFile kSquadFile = {"ruler/squad_dev_v2.0.json",
                                 "rajpurkar.github.io/SQuAD-explorer (dev-v2.0.json)",
                                 "CC BY-SA 4.0"};
constexpr DataFile kHotpotFile = {"ruler/hotpot_dev_distractor.json",
                                  "hotpotqa.github.io (hotpot_dev_distractor_v1.json)",
                                  "CC BY-SA 4.0"};
constexpr DataFile kHotpotPartFile = {"ruler/hotpot_dev_distractor_100.json",
                                      "hotpotqa.github.io (hotpot_dev_distractor_v1.json)",
                                      "CC BY-SA 4.0"};

// Numbers documents in the order of their text, as the reference does, each text once.
class DocumentPool {
 public:
  void add(const std::string& text) { index_[text] = 0; }
  void number() {
    std::size_t next = 0;
    for (auto& [text, index] : index_) index = next++;
  }
  [[nodiscard]] std::size_t of(const std::string& text) const { return index_.at(text); }
  [[nodiscard]] std::vector<std::string> texts() const {
    std::vector<std::string> all;
    for (const auto& [text, index] : index_) all.push_back(text);
    return all;
  }

 private:
  std::map<std::string, std::size_t> index_;
};

struct Paragraph {
  std::string text;
  std::vector<DocumentQuestion> questions;  // without documents
};

Result<Paragraph> squad_paragraph(const JsonRecord& record) {
  Paragraph paragraph;
  RESTKV_ASSIGN(paragraph.text, record.text("context"));
  RESTKV_ASSIGN(const std::vector<JsonRecord> questions, record.list("qas"));
  for (const JsonRecord& entry : questions) {
    if (entry.has("is_impossible")) {
      RESTKV_ASSIGN(const bool impossible, entry.truth("is_impossible"));
      if (impossible) continue;
    }
    DocumentQuestion question;
    RESTKV_ASSIGN(question.question, entry.text("question"));
    RESTKV_ASSIGN(const std::vector<JsonRecord> answers, entry.list("answers"));
    for (const JsonRecord& answer : answers) {
      RESTKV_ASSIGN(std::string text, answer.text("text"));
      question.answers.push_back(std::move(text));
    }
    if (question.answers.empty()) return entry.wrong_field("answers", "a list that is not empty");
    paragraph.questions.push_back(std::move(question));
  }
  return paragraph;
}

struct HotpotItem {
  DocumentQuestion question;
  std::vector<std::string> documents;  // those with supporting facts first
};

struct TitledText {
  std::string title;
  std::vector<std::string> sentences;
};

// A pair in a list: the published file has no names for what stands in it.
Result<std::vector<JsonRecord>> pair_of(const JsonRecord& record) {
  RESTKV_ASSIGN(std::vector<JsonRecord> parts, record.elements());
  if (parts.size() != 2) return record.wrong("must be a list of two");
  return parts;
}

Result<std::string> text_of(const JsonRecord& record) {
  if (!record.value().is_string()) return record.wrong("must be a text");
  return record.value().get<std::string>();
}

// [[title, number of a sentence], ...] as published, or {"title": [...]} of its copies by column.
Result<std::vector<std::string>> supporting_titles(const JsonRecord& record) {
  if (!record.has("supporting_facts") || !record.value().at("supporting_facts").is_array()) {
    RESTKV_ASSIGN(const JsonRecord facts, record.object("supporting_facts"));
    return facts.texts("title");
  }
  RESTKV_ASSIGN(const std::vector<JsonRecord> facts, record.list("supporting_facts"));
  std::vector<std::string> titles;
  for (const JsonRecord& fact : facts) {
    RESTKV_ASSIGN(const std::vector<JsonRecord> pair, pair_of(fact));
    RESTKV_ASSIGN(std::string title, text_of(pair[0]));
    titles.push_back(std::move(title));
  }
  return titles;
}

// [[title, [sentence, ...]], ...] as published, or {"title": [...], "sentences": [[...], ...]}.
Result<std::vector<TitledText>> context_texts(const JsonRecord& record) {
  std::vector<TitledText> texts;
  if (record.has("context") && record.value().at("context").is_array()) {
    RESTKV_ASSIGN(const std::vector<JsonRecord> entries, record.list("context"));
    for (const JsonRecord& entry : entries) {
      RESTKV_ASSIGN(const std::vector<JsonRecord> pair, pair_of(entry));
      TitledText& text = texts.emplace_back();
      RESTKV_ASSIGN(text.title, text_of(pair[0]));
      RESTKV_ASSIGN(text.sentences, pair[1].element_texts());
    }
    if (texts.empty()) return record.wrong_field("context", "a list that is not empty");
    return texts;
  }
  RESTKV_ASSIGN(const JsonRecord context, record.object("context"));
  RESTKV_ASSIGN(const std::vector<std::string> titles, context.texts("title"));
  RESTKV_ASSIGN(const std::vector<JsonRecord> bodies, context.list("sentences"));
  if (titles.empty() || titles.size() != bodies.size()) {
    return context.wrong("'title' and 'sentences' must be lists of one length, not empty");
  }
  for (std::size_t i = 0; i < titles.size(); ++i) {
    TitledText& text = texts.emplace_back(TitledText{.title = titles[i], .sentences = {}});
    RESTKV_ASSIGN(text.sentences, bodies[i].element_texts());
  }
  return texts;
}

Result<HotpotItem> hotpot_item(const JsonRecord& record) {
  HotpotItem item;
  RESTKV_ASSIGN(item.question.question, record.text("question"));
  RESTKV_ASSIGN(std::string answer, record.text("answer"));
  item.question.answers = {std::move(answer)};
  RESTKV_ASSIGN(const std::vector<std::string> needed, supporting_titles(record));
  RESTKV_ASSIGN(const std::vector<TitledText> context, context_texts(record));
  std::vector<std::string> others;
  for (const auto& [title, sentences] : context) {
    std::string text = title + "\n";
    for (const std::string& sentence : sentences) text += sentence;
    const bool first = std::ranges::find(needed, title) != needed.end();
    (first ? item.documents : others).push_back(std::move(text));
  }
  item.documents.insert(item.documents.end(), others.begin(), others.end());
  return item;
}

std::string proper_name(std::size_t i) {
  std::string name = invented_word(i);
  name[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(name[0])));
  return name;
}

constexpr std::array kGoods = {"copper kettles", "blue linen", "wooden clocks", "smoked trout",
                               "glass beads",    "saddles",    "church bells",  "apple brandy",
                               "rope",           "mustard"};
constexpr std::array kDays = {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};
constexpr std::array kCrafts = {"mason", "carpenter", "smith", "engineer", "architect"};

}  // namespace

bool has_squad(const TaskRequest& request) { return has_data(request, kSquadFile); }

Result<std::string> squad_path(const TaskRequest& request) {
  return data_path(request, kSquadFile);
}

Result<DocumentSet> load_squad(const TaskRequest& request) {
  RESTKV_ASSIGN(const std::string path, squad_path(request));
  RESTKV_ASSIGN(const nlohmann::json file, read_json_file(path));
  RESTKV_ASSIGN(const std::vector<JsonRecord> articles, JsonRecord(file, path).list("data"));
  std::vector<std::vector<Paragraph>> read;
  DocumentPool pool;
  for (const JsonRecord& article : articles) {
    RESTKV_ASSIGN(const std::vector<JsonRecord> paragraphs, article.list("paragraphs"));
    read.emplace_back();
    for (const JsonRecord& record : paragraphs) {
      RESTKV_ASSIGN(Paragraph paragraph, squad_paragraph(record));
      pool.add(paragraph.text);
      read.back().push_back(std::move(paragraph));
    }
  }
  pool.number();
  DocumentSet set{
      .documents = pool.texts(), .questions = {}, .source = std::string(kSquadFile.path)};
  for (const std::vector<Paragraph>& article : read) {
    for (const Paragraph& paragraph : article) {
      for (DocumentQuestion question : paragraph.questions) {
        question.gold = {pool.of(paragraph.text)};
        for (const Paragraph& other : article) {
          if (other.text != paragraph.text) question.more.push_back(pool.of(other.text));
        }
        set.questions.push_back(std::move(question));
      }
    }
  }
  if (set.questions.empty()) return Error{ErrorCode::kCorrupt, path + ": holds no question"};
  return set;
}

bool has_hotpot(const TaskRequest& request) {
  return has_data(request, kHotpotFile) || has_data(request, kHotpotPartFile);
}

Result<DocumentSet> load_hotpot(const TaskRequest& request) {
  const bool part = !has_data(request, kHotpotFile) && has_data(request, kHotpotPartFile);
  const DataFile& source = part ? kHotpotPartFile : kHotpotFile;
  RESTKV_ASSIGN(const std::string path, data_path(request, source));
  RESTKV_ASSIGN(const nlohmann::json file, read_json_file(path));
  RESTKV_ASSIGN(const std::vector<JsonRecord> records, JsonRecord(file, path).elements());
  std::vector<HotpotItem> items;
  DocumentPool pool;
  for (const JsonRecord& record : records) {
    RESTKV_ASSIGN(HotpotItem item, hotpot_item(record));
    for (const std::string& document : item.documents) pool.add(document);
    items.push_back(std::move(item));
  }
  pool.number();
  DocumentSet set{.documents = pool.texts(), .questions = {}, .source = std::string(source.path)};
  for (HotpotItem& item : items) {
    for (const std::string& document : item.documents) {
      item.question.gold.push_back(pool.of(document));
    }
    set.questions.push_back(std::move(item.question));
  }
  if (set.questions.empty()) return Error{ErrorCode::kCorrupt, path + ": holds no question"};
  return set;
}

DocumentSet own_documents(std::size_t towns, Hops hops, std::uint64_t seed) {
  DocumentSet set{.documents = {}, .questions = {}, .source = "own documents"};
  Draws draws(seed);
  for (std::size_t i = 0; i < towns; ++i) {
    // Four names that no other document has.
    const std::string town = proper_name(4 * i);
    const std::string builder = proper_name(4 * i + 1) + " " + proper_name(4 * i + 2);
    const std::string birthplace = proper_name(4 * i + 3);
    const std::string craft = draws.of(kCrafts);
    const std::string year = std::to_string(draws.between(1400, 1890));
    set.documents.push_back(town + "\n" + town + " is a small town known for its " +
                            draws.of(kGoods) + ". The bridge of " + town + " was built in " + year +
                            " by the " + craft + " " + builder + ". Market is held every " +
                            draws.of(kDays) + ".");
    set.documents.push_back(builder + "\n" + builder + " was a " + craft + " who grew up in " +
                            birthplace + " and travelled a great deal. Most of the " + craft +
                            "'s drawings are lost.");
    DocumentQuestion question;
    if (hops == Hops::kTwo) {
      question.question = "In which town did the builder of the bridge of " + town + " grow up?";
      question.answers = {birthplace};
      question.gold = {2 * i, 2 * i + 1};
    } else {
      question.question = "Who built the bridge of " + town + "?";
      question.answers = {builder};
      question.gold = {2 * i};
    }
    set.questions.push_back(std::move(question));
  }
  return set;
}

}  // namespace restkv
