#include "bench/engine_report.h"

#include <cstdio>
#include <map>

namespace tiltshift::engine {

bool IsProduct(const OpProfile& op) { return op.kind.starts_with("conv") || op.kind.starts_with("linear"); }

double ProductRate(const std::vector<OpProfile>& alone) {
  double flops = 0, seconds = 0;
  for (const OpProfile& op : alone) {
    if (!IsProduct(op)) continue;
    flops += op.flops;
    seconds += op.seconds;
  }
  return flops / seconds / 1e9;
}

double SecondsOf(const std::vector<OpProfile>& ops) {
  double seconds = 0;
  for (const OpProfile& op : ops) seconds += op.seconds;
  return seconds;
}

double FlopsOf(const std::vector<OpProfile>& ops) {
  double flops = 0;
  for (const OpProfile& op : ops) flops += op.flops;
  return flops;
}

void PrintOps(const char* title, const std::vector<OpProfile>& ops, const std::vector<OpProfile>* alone) {
  struct Sum {
    int count = 0;
    double seconds = 0, flops = 0, alone = 0;
  };
  std::map<std::string, Sum> kinds;
  const double total = SecondsOf(ops);
  for (size_t i = 0; i < ops.size(); ++i) {
    Sum& sum = kinds[ops[i].kind];
    ++sum.count;
    sum.seconds += ops[i].seconds;
    sum.flops += ops[i].flops;
    if (alone != nullptr) sum.alone += (*alone)[i].seconds;
  }
  std::printf("\n%-20s %5s %9s %7s %9s %9s\n", title, "ops", "us", "share", "GFLOP/s", "alone us");
  for (const auto& [kind, sum] : kinds) {
    std::printf("%-20s %5d %9.0f %6.1f%% %9.0f %9.0f\n", kind.c_str(), sum.count, sum.seconds * 1e6,
                100 * sum.seconds / total, sum.flops / sum.seconds / 1e9, sum.alone * 1e6);
  }
}

void PrintEach(const char* title, const std::vector<OpProfile>& ops, const std::vector<OpProfile>& alone) {
  std::printf("\n%-72s %9s %9s %9s\n", title, "us", "GFLOP/s", "alone us");
  for (size_t i = 0; i < ops.size(); ++i) {
    std::printf("%-72s %9.1f %9.0f %9.1f\n", (ops[i].kind + " " + ops[i].name).c_str(), ops[i].seconds * 1e6,
                ops[i].flops / ops[i].seconds / 1e9, alone[i].seconds * 1e6);
  }
}

}  // namespace tiltshift::engine
