#pragma once

// Reads the golden data: results of the published code of each method, one safetensors file for
// each case and a manifest with tolerances and near ties. Its README tells what the arrays mean.
// The data does not belong to the repository; tests skip where it is not there. A file that
// contradicts itself fails a check.

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace restkv {

struct GoldenTensor {
  std::string type;  // "F16", "F32", "I32", "U8"
  std::vector<std::size_t> shape;
  std::span<const std::byte> bytes;

  // REQUIRES: F16 or F32.
  [[nodiscard]] std::vector<float> floats() const;
  // REQUIRES: I32.
  [[nodiscard]] std::vector<std::int32_t> integers() const;
};

// A whole safetensors file: 8 bytes of header length, a JSON header, the data.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::string& path);
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;
  // REQUIRES: has(name).
  [[nodiscard]] const GoldenTensor& tensor(const std::string& name) const;
  [[nodiscard]] bool has(const std::string& name) const { return tensors_.contains(name); }

 private:
  std::vector<std::byte> data_;
  std::map<std::string, GoldenTensor> tensors_;
};

// How close an output must be; exact, or |x - ref| <= atol + rtol * |ref|.
struct GoldenOutput {
  bool exact = false;
  double rtol = 0;
  double atol = 0;
};

// In this row the cut is closer than the rounding noise: any `need` of the candidates are right.
struct NearTie {
  std::size_t row = 0;
  std::size_t need = 0;
  std::vector<std::int32_t> candidates;
};

struct GoldenMethod {
  std::string name;
  std::vector<std::size_t> budgets;  // listed, or those of the keep sets
  std::vector<int> kernels;
  double rope_theta = 0;  // 0: not among the parameters
  std::map<std::string, GoldenOutput> outputs;
  std::map<std::string, std::vector<NearTie>> near_ties;  // by the name of the keep set
};

struct GoldenCase {
  std::string name;
  std::string file;
  std::map<std::string, std::size_t> dims;  // "Hq", "Hkv", "d", "n", "hidden"
  std::vector<GoldenMethod> methods;

  // Null when the case does not have it.
  [[nodiscard]] const GoldenMethod* method(const std::string& method_name) const;
};

// The manifest; nullopt when the data is not there. Read once.
const std::optional<std::vector<GoldenCase>>& golden_cases();
// REQUIRES: golden_cases() has it.
const GoldenCase& golden_case(const std::string& name);
SafetensorsFile open_golden(const GoldenCase& golden);
// "<case> <method>" of every method in the manifest whose name begins with one of `beginnings`: a
// test compares what a room has listed with it, so that nothing is passed over.
// REQUIRES: golden_cases() has it.
std::set<std::string> golden_methods(std::span<const std::string_view> beginnings);

// What a test says when it skips.
inline constexpr const char* kNoGoldenData = "the golden data (../shared/golden) is missing";

}  // namespace restkv
