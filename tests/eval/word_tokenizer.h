#pragma once

// A tokenizer for tests that needs no model: up to four letters with the blank before them, up to
// three digits, or any other single byte make a token. Detokenising gives back every byte.

#include <algorithm>
#include <cctype>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "eval/task.h"

namespace restkv {

inline Tokenizer word_tokenizer() {
  struct Table {
    std::map<std::string, Token, std::less<>> numbers;
    std::vector<std::string> pieces;
  };
  const auto table = std::make_shared<Table>();
  const auto is_letter = [](char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; };
  const auto is_digit = [](char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; };
  Tokenizer tokenizer;
  tokenizer.tokenize = [=](std::string_view text) {
    std::vector<Token> tokens;
    for (std::size_t at = 0; at < text.size();) {
      std::size_t end = at + 1;
      if (is_digit(text[at])) {
        while (end < text.size() && end < at + 3 && is_digit(text[end])) ++end;
      } else if (is_letter(text[at]) || text[at] == ' ') {
        while (end < text.size() && end < at + 4 && is_letter(text[end])) ++end;
      }
      const auto [entry, fresh] = table->numbers.try_emplace(
          std::string(text.substr(at, end - at)), static_cast<Token>(table->pieces.size()));
      if (fresh) table->pieces.push_back(entry->first);
      tokens.push_back(entry->second);
      at = end;
    }
    return tokens;
  };
  tokenizer.detokenize = [=](std::span<const Token> tokens) {
    std::string text;
    for (const Token token : tokens) text += table->pieces[static_cast<std::size_t>(token)];
    return text;
  };
  return tokenizer;
}

// Every byte is a token, numbered by its value.
inline Tokenizer byte_tokenizer() {
  return {.tokenize =
              [](std::string_view text) {
                std::vector<Token> tokens;
                for (const char c : text) tokens.push_back(static_cast<unsigned char>(c));
                return tokens;
              },
          .detokenize =
              [](std::span<const Token> tokens) {
                std::string text;
                for (const Token token : tokens) text += static_cast<char>(token);
                return text;
              }};
}

// A token ends before every letter from a to m and before everything that is no letter: words of
// the same length differ much in their tokens. Counts only: every token has the number 0.
inline Tokenizer uneven_tokenizer() {
  return {.tokenize =
              [](std::string_view text) {
                const auto begins = [](char c) { return c < 'n' || c > 'z'; };
                return std::vector<Token>(
                    static_cast<std::size_t>(std::ranges::count_if(text, begins)), 0);
              },
          .detokenize = [](std::span<const Token> /*tokens*/) { return std::string(); }};
}

// How often a text stands in another, overlaps included.
inline std::size_t occurrences(std::string_view text, std::string_view part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos;
       at = text.find(part, at + 1)) {
    ++count;
  }
  return count;
}

inline std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines(1);
  for (const char c : text) {
    if (c == '\n') {
      lines.emplace_back();
    } else {
      lines.back() += c;
    }
  }
  return lines;
}

}  // namespace restkv
