#include "support/golden.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <nlohmann/json.hpp>

#include "base/check.h"

namespace restkv {
namespace {

using Json = nlohmann::json;

const std::filesystem::path kFolder = std::filesystem::path(RESTKV_SHARED_DIR) / "golden";

float half_to_float(std::uint16_t half) {
  const int exponent = half >> 10 & 31;
  const int mantissa = half & 1023;
  const float sign = (half & 0x8000) != 0 ? -1.0F : 1.0F;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), -24);
  RESTKV_CHECK(exponent < 31);
  return sign * std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
}

template <typename T>
std::vector<T> copied(std::span<const std::byte> bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
  return values;
}

GoldenMethod method_of(const Json& json) {
  GoldenMethod method;
  json.at("method").get_to(method.name);
  const Json& params = json.at("params");
  if (params.contains("budgets")) params["budgets"].get_to(method.budgets);
  if (params.contains("kernels")) params["kernels"].get_to(method.kernels);
  method.rope_theta = params.value("rope_theta", 0.0);
  const bool budgets_by_name = method.budgets.empty();
  for (const auto& [name, output] : json.at("outputs").items()) {
    constexpr std::string_view kKeep = ".keep.C";
    const std::size_t keep = name.find(kKeep);
    if (budgets_by_name && keep != std::string::npos) {
      method.budgets.push_back(std::stoul(name.substr(keep + kKeep.size())));
    }
    method.outputs[name] = {.exact = output.value("exact", false),
                            .rtol = output.value("rtol", 0.0),
                            .atol = output.value("atol", 0.0)};
  }
  for (const Json& selection : json.at("selections")) {
    auto& ties = method.near_ties[selection.at("keep")];
    if (!selection.contains("near_ties")) continue;
    for (const Json& tie : selection["near_ties"]) {
      ties.push_back(
          {.row = tie.at("row"), .need = tie.at("need"), .candidates = tie.at("candidates")});
    }
  }
  return method;
}

std::optional<std::vector<GoldenCase>> read_cases() {
  std::ifstream file(kFolder / "cases.json");
  if (!file) return std::nullopt;
  const Json manifest = Json::parse(file);
  std::vector<GoldenCase> cases;
  for (const Json& json : manifest.at("cases")) {
    GoldenCase golden;
    json.at("name").get_to(golden.name);
    json.at("file").get_to(golden.file);
    for (const auto& [name, value] : json.at("dims").items()) {
      if (value.is_number_unsigned()) golden.dims[name] = value;
    }
    for (const Json& method : json.at("methods")) golden.methods.push_back(method_of(method));
    cases.push_back(std::move(golden));
  }
  return cases;
}

}  // namespace

std::vector<float> GoldenTensor::floats() const {
  if (type == "F32") return copied<float>(bytes);
  RESTKV_CHECK(type == "F16");
  std::vector<float> values;
  for (const std::uint16_t half : copied<std::uint16_t>(bytes)) {
    values.push_back(half_to_float(half));
  }
  return values;
}

std::vector<std::int32_t> GoldenTensor::integers() const {
  RESTKV_CHECK(type == "I32");
  return copied<std::int32_t>(bytes);
}

SafetensorsFile::SafetensorsFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  RESTKV_CHECK(file.good());
  data_.resize(static_cast<std::size_t>(file.tellg()));
  file.seekg(0);
  file.read(reinterpret_cast<char*>(data_.data()), static_cast<std::streamsize>(data_.size()));
  RESTKV_CHECK(file.good() && data_.size() >= 8);
  std::uint64_t header_size = 0;
  std::memcpy(&header_size, data_.data(), sizeof(header_size));
  RESTKV_CHECK(header_size <= data_.size() - 8);
  const auto* header = reinterpret_cast<const char*>(data_.data()) + 8;
  const std::span<const std::byte> body =
      std::span<const std::byte>(data_).subspan(8 + header_size);
  const Json index = Json::parse(header, header + header_size);
  for (const auto& [name, entry] : index.items()) {
    if (name == "__metadata__") continue;
    const std::vector<std::size_t> range = entry.at("data_offsets");
    RESTKV_CHECK(range.size() == 2 && range[0] <= range[1] && range[1] <= body.size());
    tensors_[name] = {.type = entry.at("dtype"),
                      .shape = entry.at("shape"),
                      .bytes = body.subspan(range[0], range[1] - range[0])};
  }
}

const GoldenTensor& SafetensorsFile::tensor(const std::string& name) const {
  const auto found = tensors_.find(name);
  RESTKV_CHECK(found != tensors_.end());
  return found->second;
}

const GoldenMethod* GoldenCase::method(const std::string& method_name) const {
  const auto found = std::ranges::find(methods, method_name, &GoldenMethod::name);
  return found != methods.end() ? &*found : nullptr;
}

const std::optional<std::vector<GoldenCase>>& golden_cases() {
  static const std::optional<std::vector<GoldenCase>> cases = read_cases();
  return cases;
}

const GoldenCase& golden_case(const std::string& name) {
  RESTKV_CHECK(golden_cases().has_value());
  const auto found = std::ranges::find(*golden_cases(), name, &GoldenCase::name);
  RESTKV_CHECK(found != golden_cases()->end());
  return *found;
}

SafetensorsFile open_golden(const GoldenCase& golden) {
  return SafetensorsFile((kFolder / golden.file).string());
}

std::set<std::string> golden_methods(std::span<const std::string_view> beginnings) {
  RESTKV_CHECK(golden_cases().has_value());
  std::set<std::string> methods;
  for (const GoldenCase& golden : *golden_cases()) {
    for (const GoldenMethod& method : golden.methods) {
      const bool wanted = std::ranges::any_of(beginnings, [&](std::string_view beginning) {
        return method.name.starts_with(beginning);
      });
      if (wanted) methods.insert(golden.name + " " + method.name);
    }
  }
  return methods;
}

}  // namespace restkv
