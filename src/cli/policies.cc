// `restkv policies`: the tables, as they are.

#include <cstdio>
#include <string>

#include "cli/commands.h"
#include "cli/flags.h"
#include "restkv/allocator.h"
#include "restkv/policy.h"
#include "sparse/pattern.h"

namespace restkv {
namespace {

std::string values_of(const ParamInfo& param) {
  switch (param.kind) {
    case ParamKind::kSwitch: return "on|off";
    case ParamKind::kChoice: return std::string(param.choices);
    case ParamKind::kInteger:
    case ParamKind::kNumber: {
      char buffer[64];
      std::snprintf(buffer, sizeof(buffer), "%g to %g", param.min, param.max);
      return buffer;
    }
  }
  return "";
}

std::string protection_text(const PolicyInfo& policy) {
  if (policy.keeps_all) return "everything";
  std::string text;
  if (policy.paper_protection.sinks > 0) {
    text = std::to_string(policy.paper_protection.sinks) + " sinks";
  }
  if (policy.paper_protection.window) text += std::string(text.empty() ? "" : ", ") + "the window";
  return text.empty() ? "nothing" : text;
}

void print_params(std::span<const ParamInfo> params) {
  for (const ParamInfo& param : params) {
    std::printf("      %-12s %s; %s (%s)\n", std::string(param.name).c_str(),
                std::string(param.summary).c_str(), values_of(param).c_str(),
                std::string(param.default_value).c_str());
  }
}

void print_plain() {
  std::puts("policies: what a token is worth (--kv-policy)");
  for (const PolicyInfo* policy : all_policies()) {
    std::printf("  %-15s %s\n", std::string(policy->name).c_str(),
                std::string(policy->summary).c_str());
    std::printf("      %s; the paper protects %s\n", std::string(policy->paper).c_str(),
                protection_text(*policy).c_str());
    print_params(policy->params);
  }
  std::puts("\nallocators: how the budget is divided (--kv-alloc)");
  for (const AllocatorInfo* allocator : all_allocators()) {
    std::printf("  %-15s %s\n      %s\n", std::string(allocator->name).c_str(),
                std::string(allocator->summary).c_str(), std::string(allocator->paper).c_str());
    print_params(allocator->params);
  }
  std::puts("\nprefill: which part of a prompt's attention is computed (--prefill)");
  for (const PatternInfo* pattern : all_patterns()) {
    std::printf("  %-15s %s\n      %s\n", std::string(pattern->name).c_str(),
                std::string(pattern->summary).c_str(), std::string(pattern->paper).c_str());
    print_params(pattern->params);
  }
}

template <typename Info>
void print_option_table(std::span<const Info* const> table) {
  std::puts("\n| name | option | meaning | values | default |\n|---|---|---|---|---|");
  for (const Info* info : table) {
    for (const ParamInfo& param : info->params) {
      std::string values = values_of(param);
      for (std::size_t at = 0; (at = values.find('|', at)) != std::string::npos; at += 2) {
        values.replace(at, 1, "\\|");
      }
      std::printf("| `%s` | `%s` | %s | %s | %s |\n", std::string(info->name).c_str(),
                  std::string(param.name).c_str(), std::string(param.summary).c_str(),
                  values.c_str(), std::string(param.default_value).c_str());
    }
  }
}

void print_markdown() {
  std::puts("# Policies and allocators\n\nWritten by `restkv policies --markdown`; do not edit.\n");
  std::puts(
      "## Policies\n\n| name | what a token is worth | publication | it protects "
      "|\n|---|---|---|---|");
  for (const PolicyInfo* policy : all_policies()) {
    std::printf("| `%s` | %s | %s | %s |\n", std::string(policy->name).c_str(),
                std::string(policy->summary).c_str(), std::string(policy->paper).c_str(),
                protection_text(*policy).c_str());
  }
  print_option_table(all_policies());
  std::puts("\n## Allocators\n\n| name | how the budget is divided | publication |\n|---|---|---|");
  for (const AllocatorInfo* allocator : all_allocators()) {
    std::printf("| `%s` | %s | %s |\n", std::string(allocator->name).c_str(),
                std::string(allocator->summary).c_str(), std::string(allocator->paper).c_str());
  }
  print_option_table(all_allocators());
  std::puts(
      "\n## Prefill\n\n| name | which part of the attention is computed | publication "
      "|\n|---|---|---|");
  for (const PatternInfo* pattern : all_patterns()) {
    std::printf("| `%s` | %s | %s |\n", std::string(pattern->name).c_str(),
                std::string(pattern->summary).c_str(), std::string(pattern->paper).c_str());
  }
  print_option_table(all_patterns());
}

}  // namespace

int policies_command(Arguments args) {
  bool markdown = false;
  bool help = false;
  FlagSet flags(
      "usage: restkv policies [--markdown]\n\n"
      "Lists the policies, the allocators and the patterns of sparse prefill.");
  flags.add_switch({"--markdown"}, "as docs/policies.md", [&markdown] { markdown = true; });
  flags.add_switch({"-h", "--help"}, "this text", [&help] { help = true; });
  if (auto parsed = flags.parse(args); !parsed.ok()) return report_usage(parsed.error());
  if (help) {
    std::fputs(flags.help().c_str(), stdout);
  } else if (markdown) {
    print_markdown();
  } else {
    print_plain();
  }
  return 0;
}

}  // namespace restkv
