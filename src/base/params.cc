#include "restkv/params.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/check.h"

namespace restkv {
namespace {

Error invalid(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }

std::string number_text(double value) {
  char buffer[32];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof(buffer), value);
  return {buffer, error == std::errc() ? end : buffer};
}

bool parse_double(std::string_view text, double& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && std::isfinite(value);
}

bool is_choice(std::string_view choices, std::string_view value) {
  while (!choices.empty()) {
    const std::size_t bar = choices.find('|');
    if (choices.substr(0, bar) == value) return true;
    if (bar == std::string_view::npos) return false;
    choices.remove_prefix(bar + 1);
  }
  return false;
}

// What a value must be, for messages.
std::string wanted(const ParamInfo& param) {
  switch (param.kind) {
    case ParamKind::kNumber:
      return "a number from " + number_text(param.min) + " to " + number_text(param.max);
    case ParamKind::kInteger:
      return "a whole number from " + number_text(param.min) + " to " + number_text(param.max);
    case ParamKind::kSwitch: return "on or off";
    case ParamKind::kChoice: return "one of " + std::string(param.choices);
  }
  return "";
}

bool accepts(const ParamInfo& param, std::string_view value) {
  double number = 0;
  switch (param.kind) {
    case ParamKind::kNumber:
      return parse_double(value, number) && number >= param.min && number <= param.max;
    case ParamKind::kInteger:
      return parse_double(value, number) && number == std::floor(number) && number >= param.min &&
             number <= param.max;
    case ParamKind::kSwitch: return value == "on" || value == "off";
    case ParamKind::kChoice: return is_choice(param.choices, value);
  }
  return false;
}

std::string names_of(std::span<const ParamInfo> declared) {
  if (declared.empty()) return "it has none";
  std::string names = "known: ";
  for (const ParamInfo& param : declared) {
    if (&param != declared.data()) names += ", ";
    names += param.name;
  }
  return names;
}

}  // namespace

Result<ParamValues> ParamValues::parse(std::string_view owner, std::span<const ParamInfo> declared,
                                       std::span<const Assignment> assignments) {
  ParamValues result;
  for (const ParamInfo& param : declared) {
    result.values_.emplace_back(param.name, param.default_value);
  }
  for (const auto& [name, value] : assignments) {
    const auto found = std::ranges::find(declared, std::string_view(name), &ParamInfo::name);
    if (found == declared.end()) {
      return invalid(std::string(owner) + " has no option '" + name + "' (" + names_of(declared) +
                     ")");
    }
    if (!accepts(*found, value)) {
      return invalid(std::string(owner) + ": " + name + " takes " + wanted(*found) + ", not '" +
                     value + "'");
    }
    result.values_[static_cast<std::size_t>(found - declared.begin())].second = value;
  }
  return result;
}

const std::string& ParamValues::text(std::string_view name) const {
  const auto found = std::ranges::find(values_, name, &Assignment::first);
  RESTKV_CHECK(found != values_.end());
  return found->second;
}

double ParamValues::number(std::string_view name) const {
  double value = 0;
  RESTKV_CHECK(parse_double(text(name), value));
  return value;
}

int ParamValues::integer(std::string_view name) const { return static_cast<int>(number(name)); }
bool ParamValues::on(std::string_view name) const { return text(name) == "on"; }
std::string_view ParamValues::choice(std::string_view name) const { return text(name); }

Result<NamedParams> parse_named_params(std::string_view text) {
  NamedParams result;
  bool first = true;
  std::string_view rest = text;
  while (first || !rest.empty()) {
    const std::size_t colon = rest.find(':');
    const std::string_view part = rest.substr(0, colon);
    rest = colon == std::string_view::npos ? std::string_view() : rest.substr(colon + 1);
    const bool dangling = colon != std::string_view::npos && rest.empty();
    if (first) {
      if (part.empty()) return invalid("'" + std::string(text) + "' has no name");
      result.name = part;
      first = false;
    } else {
      const std::size_t equals = part.find('=');
      if (equals == std::string_view::npos || equals == 0 || equals + 1 == part.size()) {
        return invalid("'" + std::string(part) + "' in '" + std::string(text) +
                       "' is not option=value");
      }
      result.assignments.emplace_back(part.substr(0, equals), part.substr(equals + 1));
    }
    if (dangling) return invalid("'" + std::string(text) + "' ends in ':'");
  }
  return result;
}

}  // namespace restkv
