#pragma once

// Command-line flags as a table: names, what they take, what they mean. Help and parsing come from
// the same entries, so neither can drift.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "restkv/result.h"

namespace restkv {

// One flag. `names` as typed: "-m", "--model". A flag with an empty `value_name` is a switch.
struct Flag {
  enum class Kind : std::uint8_t {
    kUseful,
    kIgnored,  // one of llama.cpp's that changes nothing here
    kRefused,  // one of llama.cpp's that is an error here
  };
  std::vector<std::string_view> names;
  std::string_view value_name;   // "N", "FNAME", or empty
  std::string help;              // a sentence, default included; help() wraps it
  std::string_view environment;  // variable that stands in when the flag is not given, or empty
  std::function<Result<void>(std::string_view value)> set;
  Kind kind = Kind::kUseful;
  // What is typed counts for more than what the environment says: with this value (none for a
  // switch) the variable of that other flag counts for nothing.
  struct Silenced {
    std::string_view value;
    std::string_view flag;
  };
  std::vector<Silenced> silences = {};
};

// A flag without a value and without a variable.
[[nodiscard]] Flag switch_flag(std::vector<std::string_view> names, std::string help,
                               std::function<void()> set);

class FlagSet {
 public:
  explicit FlagSet(std::string_view usage) : usage_(usage) {}

  // REQUIRES: none of its names is taken
  void add(Flag flag);
  // The flags added from here on stand under this title in the help.
  void begin_section(std::string_view title) { sections_.emplace_back(flags_.size(), title); }
  // Takes the flag of that name out: the command has its own, or none. REQUIRES: there is one.
  void remove(std::string_view name);
  // The usual targets. The number kinds check that the whole text is a number in the range.
  void add_text(std::vector<std::string_view> names, std::string_view value_name, std::string help,
                std::string* target, std::string_view environment = {});
  void add_integer(std::vector<std::string_view> names, std::string help, long long least,
                   long long most, std::function<void(long long)> set,
                   std::string_view environment = {});
  void add_number(std::vector<std::string_view> names, std::string help, double least, double most,
                  std::function<void(double)> set, std::string_view environment = {});
  void add_switch(std::vector<std::string_view> names, std::string help, std::function<void()> set);
  // Two switches of which the last one counts. The variable takes what llama.cpp's do: on, enabled,
  // true or 1 stand for `yes`, and off, disabled, false or 0 for `no`.
  struct Switch {
    std::vector<std::string_view> names;
    std::string help;
  };
  void add_switch_pair(Switch yes, Switch no, const std::function<void(bool)>& set,
                       std::string_view environment);
  // The next two leave out names that are taken: the command has its own flag of that name.
  // Accepted for the sake of llama.cpp's command lines, without effect here; says so in notices().
  // A value that looks like a flag is refused: older versions of some took no value.
  void add_ignored(std::vector<std::string_view> names, std::string_view value_name,
                   std::string_view reason);
  // A flag of llama.cpp that cannot be honoured: an error with what to do instead.
  void add_refused(std::vector<std::string_view> names, std::string_view instead);

  // Environment first, then the arguments from left to right; the last one counts. The variable of
  // a flag that is typed is not looked at, and with --help none is. kInvalidArgument for an unknown
  // flag (with the nearest known one), a missing or a wrong value.
  Result<void> parse(std::span<const std::string_view> args);

  // The usage, then every useful flag under its section, wrapped at 100 columns, then the names of
  // those that are ignored.
  [[nodiscard]] std::string help() const;
  [[nodiscard]] const std::vector<std::string>& notices() const { return notices_; }

 private:
  // A flag as it stands in the arguments.
  struct Typed {
    const Flag* flag;
    std::string_view value;
  };
  [[nodiscard]] static bool is_typed(std::span<const Typed> typed, const Flag* flag);
  // Up to the first argument that is wrong.
  Result<void> read(std::span<const std::string_view> args, std::vector<Typed>& typed) const;
  [[nodiscard]] Result<void> take_environment(std::span<const Typed> typed) const;
  [[nodiscard]] const Flag* find(std::string_view name) const;
  [[nodiscard]] std::string nearest(std::string_view name) const;

  std::string usage_;
  std::vector<Flag> flags_;
  std::vector<std::pair<std::size_t, std::string_view>>
      sections_;  // index of the first flag, title
  std::vector<std::string> notices_;
};

// The known word that a mistyped one is most like; empty when none is near.
std::string_view nearest_word(std::string_view word, std::span<const std::string_view> known);

// "a,b,c" -> its parts; empty parts are kept so that they can be refused.
std::vector<std::string> split_list(std::string_view text, char separator = ',');

}  // namespace restkv
