#pragma once

// The final answer of a worked calculation, as text.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace restkv {

// GSM8K's own: what stands at the first `#### ` that is followed by [0-9.,]+ with or without a
// minus sign, commas removed.
[[nodiscard]] std::optional<std::string> marked_number(std::string_view text);

// What may stand between a closing phrase and its number: blanks, '$', ':' and '*', or what TeX
// puts around a number as well: "\(", "\[", "\boxed{", "\$".
enum class Between : std::uint8_t { kPlain, kTex };

// The number at the first closing phrase that one follows: "####" or, in any case of letters,
// "answer is". Commas and full stops that are not followed by a digit do not belong to it.
[[nodiscard]] std::optional<std::string> closing_number(std::string_view text, Between between);

// The last match of (-?[$0-9.,]{2,})|(-?[0-9]+), as lm-evaluation-harness has it, without '$', ','
// and one full stop at its end. May hold no digit.
[[nodiscard]] std::optional<std::string> last_number(std::string_view text);

// The one spelling of a decimal number: no '$', ',', '%' and white space, no full stop at its end,
// no zeros that say nothing, no minus before 0. Nothing when what remains is no number. Any length.
[[nodiscard]] std::optional<std::string> plain_decimal(std::string_view text);

}  // namespace restkv
