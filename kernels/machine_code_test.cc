// What nvcc makes of the kernels, where nvcc is installed: no spills, no local memory, tensor cores
// and asynchronous copies. Compiles each .cu for one card, sm_90 (TILTSHIFT_MACHINE_CODE_ARCH names
// another), bf16 alone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

namespace tiltshift::kernels {
namespace {

namespace fs = std::filesystem;

// A command's output, both streams, and whether it went well.
struct Ran {
  bool ok = false;
  std::string output;
};
Ran Execute(const std::string& command) {
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return {};
  Ran ran;
  std::array<char, 4096> buffer;
  while (const size_t count = fread(buffer.data(), 1, buffer.size(), pipe))
    ran.output.append(buffer.data(), count);
  ran.ok = pclose(pipe) == 0;
  return ran;
}

// A tool of the CUDA toolkit: from the environment, the PATH or the usual place; empty where there
// is none.
std::string Tool(const std::string& variable, const std::string& name) {
  if (const char* named = std::getenv(variable.c_str())) return named;
  if (Execute("command -v " + name).ok) return name;
  const std::string usual = "/usr/local/cuda/bin/" + name;
  return fs::exists(usual) ? usual : "";
}

std::string Architecture() {
  const char* named = std::getenv("TILTSHIFT_MACHINE_CODE_ARCH");
  return named == nullptr ? "sm_90" : named;
}

// One source's kernels: what the compiler says of them, and their instructions.
struct Source {
  std::string name;
  bool products;  // made of matrix products, fed by asynchronous copies
};

void CheckRegisters(const std::string& compiler_output) {
  const std::regex line(
      R"((\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads)");
  int kernels = 0;
  for (std::sregex_iterator it(compiler_output.begin(), compiler_output.end(), line), end;
       it != end; ++it) {
    ++kernels;
    EXPECT_EQ(it->str(), "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads")
        << compiler_output;
  }
  EXPECT_GT(kernels, 0);
}

// Each function's instructions follow its name.
void CheckInstructions(const std::string& listing, bool products) {
  std::istringstream lines(listing);
  std::string function;
  std::vector<std::string> with_local, without_tensor, without_copies;
  bool local = false, tensor = false, copies = false;
  const auto end_function = [&] {
    if (function.empty()) return;
    if (local) with_local.push_back(function);
    if (!tensor) without_tensor.push_back(function);
    if (!copies) without_copies.push_back(function);
    local = tensor = copies = false;
  };
  for (std::string line; std::getline(lines, line);) {
    if (const size_t at = line.find("Function : "); at != std::string::npos) {
      end_function();
      function = line.substr(at + 11);
    }
    local =
        local || line.find(" LDL") != std::string::npos || line.find(" STL") != std::string::npos;
    tensor = tensor || line.find("HMMA.16816.F32") != std::string::npos;
    copies = copies || line.find("LDGSTS.E") != std::string::npos;
  }
  end_function();
  ASSERT_FALSE(function.empty());
  EXPECT_THAT(with_local, ::testing::IsEmpty());
  if (!products) return;
  EXPECT_THAT(without_tensor, ::testing::IsEmpty());
  EXPECT_THAT(without_copies, ::testing::IsEmpty());
}

using MachineCode = ::testing::TestWithParam<Source>;

// Registers alone, says the compiler; where there is a cuobjdump the instructions are looked
// through too.
TEST_P(MachineCode, HasWhatTheKernelsAreWrittenFor) {
  const std::string nvcc = Tool("NVCC", "nvcc"), cuobjdump = Tool("CUOBJDUMP", "cuobjdump");
  if (nvcc.empty()) GTEST_SKIP() << "no nvcc here: install the CUDA toolkit, or name it in NVCC";
  const fs::path cubin = fs::path(TILTSHIFT_BINARY_DIR) / (GetParam().name + ".cubin");
  const Ran compiled =
      Execute(nvcc + " -std=c++20 -O3 -DTILTSHIFT_BF16_ONLY -I" TILTSHIFT_SOURCE_DIR " -arch=" +
              Architecture() + " -cubin -Xptxas=-v -o " + cubin.string() +
              " " TILTSHIFT_SOURCE_DIR "/kernels/" + GetParam().name + ".cu");
  ASSERT_TRUE(compiled.ok) << compiled.output;
  CheckRegisters(compiled.output);
  if (cuobjdump.empty())
    GTEST_SKIP() << "registers checked; no cuobjdump here for the rest: install it, or name it "
                    "in CUOBJDUMP";
  const Ran dumped = Execute(cuobjdump + " -sass " + cubin.string());
  ASSERT_TRUE(dumped.ok) << dumped.output;
  CheckInstructions(dumped.output, GetParam().products);
}

INSTANTIATE_TEST_SUITE_P(Sources, MachineCode,
                         ::testing::Values(Source{"attention", true},
                                           Source{"attention_wide", true}, Source{"conv", true},
                                           Source{"denoise_step", false},
                                           Source{"elementwise", false}, Source{"gemm", true},
                                           Source{"group_norm", false}, Source{"layer_norm", false},
                                           Source{"split", false}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace tiltshift::kernels
