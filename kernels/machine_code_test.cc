// What nvcc makes of the kernels, where nvcc is installed: no spills, no local memory, tensor cores
// and asynchronous copies. The build compiles each .cu for sm_80, sm_90 and sm_120, bf16 alone
// (machine_code.sh); this reads the results.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <string_view>
#include <tuple>
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

// From the environment, beside nvcc, in the PATH or where scripts/setup puts one; empty where there
// is none.
std::string Cuobjdump() {
  if (const char* named = std::getenv("CUOBJDUMP")) return named;
  const fs::path beside = fs::path(TILTSHIFT_NVCC).parent_path() / "cuobjdump";
  if (fs::exists(beside)) return beside;
  if (Execute("command -v cuobjdump").ok) return "cuobjdump";
  const fs::path installed = TILTSHIFT_SOURCE_DIR "/build/cuobjdump/bin/cuobjdump";
  return fs::exists(installed) ? installed.string() : "";
}

std::string Contents(const fs::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
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
void CheckInstructions(const std::string& listing) {
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
  EXPECT_THAT(without_tensor, ::testing::IsEmpty());
  EXPECT_THAT(without_copies, ::testing::IsEmpty());
}

using MachineCode = ::testing::TestWithParam<std::tuple<Source, const char*>>;

// Where there is no cuobjdump registers alone are checked, as the compiler gives them.
TEST_P(MachineCode, HasWhatTheKernelsAreWrittenFor) {
  if (!fs::exists(TILTSHIFT_NVCC)) {
    GTEST_SKIP() << "no nvcc was found when the build was configured: install the CUDA toolkit, or "
                    "name it with -DTILTSHIFT_NVCC=...";
  }
  const auto& [source, architecture] = GetParam();
  if (std::string_view(TILTSHIFT_MACHINE_CODE_ARCHITECTURES).find(architecture) ==
      std::string_view::npos) {
    GTEST_SKIP() << "TILTSHIFT_MACHINE_CODE_ARCHITECTURES leaves it out, or " TILTSHIFT_NVCC
                    " does not know it";
  }
  const std::string name = source.name + "." + architecture;
  const fs::path folder = TILTSHIFT_MACHINE_CODE;
  CheckRegisters(Contents(folder / (name + ".log")));  // no stack is no local memory, too
  if (!source.products) return;
  const std::string cuobjdump = Cuobjdump();
  if (cuobjdump.empty()) {
    GTEST_SKIP()
        << "registers checked; no cuobjdump here for the rest: scripts/setup installs one, "
           "or name it in CUOBJDUMP";
  }
  const Ran dumped = Execute(cuobjdump + " -sass " + (folder / (name + ".cubin")).string());
  ASSERT_TRUE(dumped.ok) << dumped.output;
  CheckInstructions(dumped.output);
}

INSTANTIATE_TEST_SUITE_P(
    Sources, MachineCode,
    ::testing::Combine(::testing::Values(Source{"attention", true}, Source{"attention_wide", true},
                                         Source{"conv", true}, Source{"denoise_step", false},
                                         Source{"elementwise", false}, Source{"gemm", true},
                                         Source{"group_norm", false}, Source{"layer_norm", false},
                                         Source{"split", false}, Source{"upsample", false}),
                       ::testing::Values("sm_80", "sm_90", "sm_120")),
    [](const auto& info) { return std::get<0>(info.param).name + "_" + std::get<1>(info.param); });

}  // namespace
}  // namespace tiltshift::kernels
