#pragma once

// How well a text was predicted.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>

#include "restkv/types.h"

namespace restkv {

// Mean and uncertainty of the negative log-likelihoods seen so far.
class Likelihood {
 public:
  // -log of the probability of `next`. logits: [n_vocab].
  static double of(std::span<const float> logits, Token next) {
    const float max = *std::ranges::max_element(logits);
    double sum = 0;
    for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - max);
    return std::log(sum) - (static_cast<double>(logits[static_cast<std::size_t>(next)]) - max);
  }
  void add(double nll) {
    sum_ += nll;
    squares_ += nll * nll;
    ++count_;
  }
  [[nodiscard]] std::size_t count() const { return count_; }
  // REQUIRES: something was added
  [[nodiscard]] double perplexity() const { return std::exp(sum_ / static_cast<double>(count_)); }
  // Standard error of the mean, carried through the exponential.
  [[nodiscard]] double error() const {
    if (count_ < 2) return 0;
    const double mean = sum_ / static_cast<double>(count_);
    const double variance = squares_ / static_cast<double>(count_) - mean * mean;
    return std::sqrt(std::max(0.0, variance) / static_cast<double>(count_ - 1)) * perplexity();
  }

 private:
  double sum_ = 0;
  double squares_ = 0;
  std::size_t count_ = 0;
};

}  // namespace restkv
