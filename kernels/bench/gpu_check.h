// The parts of the program that checks the kernels on a card and times them (gpu_check.cc). It
// needs nvcc and this folder alone: no test library, no network.
#pragma once

#include <cstdio>
#include <string>

namespace tiltshift::kernels::bench {

// What the card can do, measured: the yardsticks beside every figure.
struct Limits {
  double copy_bytes_per_second = 0;
  double gemm_flops_per_second = 0;  // cuBLAS at 8192^3 in bf16; 0 where it is not linked
};

// Counts what was right and wrong, and says it.
class Verdicts {
 public:
  // `worst`: of the bound.
  void Compared(const std::string& name, double worst);
  void Was(const std::string& name, bool right);
  int wrong() const { return wrong_; }
  int all() const { return all_; }

 private:
  int wrong_ = 0, all_ = 0;
};

void CheckProducts(Verdicts& verdicts);
void BenchProducts(const Limits& limits);
void CheckAttention(Verdicts& verdicts);
void BenchAttention(const Limits& limits);
void CheckNorms(Verdicts& verdicts);
void BenchNorms(const Limits& limits);

// y[m, n] = x[m, k] w[n, k]^T in bf16 by cuBLAS: seconds, 0 where it is not linked.
double LibraryGemmSeconds(int m, int n, int k);

}  // namespace tiltshift::kernels::bench
