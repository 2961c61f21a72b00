#pragma once

// Options of a policy or an allocator, `rest-kv:alpha=0.2:wo=off`: declared in its table entry,
// checked once against that declaration, read by name afterwards.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "restkv/result.h"

namespace restkv {

enum class ParamKind : std::uint8_t {
  kNumber,   // a real number in [min, max]
  kInteger,  // a whole number in [min, max]
  kSwitch,   // on | off
  kChoice,   // one of `choices`
};

// One option as its owner declares it. Everything in it is constant data.
struct ParamInfo {
  std::string_view name;
  std::string_view summary;  // one line, with the unit
  ParamKind kind = ParamKind::kNumber;
  std::string_view default_value = {};  // as a user would write it
  double min = 0;
  double max = 0;
  std::string_view choices = {};  // kChoice: "before|after"
};

// The values in force: defaults overlaid with what the user wrote. Immutable after parse().
class ParamValues {
 public:
  using Assignment = std::pair<std::string, std::string>;  // name, value as written

  // Checks each assignment against the declarations. An unknown name, a value outside its range
  // or of the wrong kind is kInvalidArgument; the message names `owner` and what is allowed.
  static Result<ParamValues> parse(std::string_view owner, std::span<const ParamInfo> declared,
                                   std::span<const Assignment> assignments);

  // REQUIRES: the name was declared with the kind that is asked for.
  [[nodiscard]] double number(std::string_view name) const;            // kNumber, kInteger
  [[nodiscard]] int integer(std::string_view name) const;              // kInteger
  [[nodiscard]] bool on(std::string_view name) const;                  // kSwitch
  [[nodiscard]] std::string_view choice(std::string_view name) const;  // kChoice

  // Every declared option with the value in force, in the order of declaration: what a report
  // repeats so that a result names its whole setting.
  [[nodiscard]] const std::vector<Assignment>& all() const { return values_; }

 private:
  [[nodiscard]] const std::string& text(std::string_view name) const;
  std::vector<Assignment> values_;
};

// "name:a=1:b=off" -> the name and its assignments. An empty name, an empty or missing value is
// kInvalidArgument.
struct NamedParams {
  std::string name;
  std::vector<ParamValues::Assignment> assignments;
};
Result<NamedParams> parse_named_params(std::string_view text);

}  // namespace restkv
