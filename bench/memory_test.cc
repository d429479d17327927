// The memory of Stable Diffusion 1.5's shapes at 512x512, by plan and to the byte: what is planned
// is what is taken (CpuProgram takes its plan's bytes in one piece), so this holds what a picture
// costs without making one.
#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <filesystem>

#include "bench/random_model.h"
#include "engine/backend.h"
#include "engine/cpu/isa.h"
#include "engine/cpu/memory_plan.h"
#include "engine/model_config.h"
#include "engine/text_encoder.h"
#include "engine/unet.h"
#include "engine/vae.h"

namespace tiltshift::engine {
namespace {

constexpr int kSide = 64, kTokens = 77, kSteps = 20;

class MemoryTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = ::testing::TempDir() + "memory_sd15";
    ASSERT_TRUE(WriteSd15({folder_, TILTSHIFT_SOURCE_DIR, true}).ok());
    const auto config = LoadModelConfig(folder_, [](const std::string&) { return std::nullopt; });
    ASSERT_TRUE(config.ok()) << config.status();
    const auto open = [](const char* part, const char* stem) {
      auto weights = Weights::Open(absl::StrCat(folder_, "/", part), stem);
      for (const auto& file : weights->files()) files_bytes_ += file->bytes().size();
      return *std::move(weights);
    };
    text_ = *TextEncoder::Load(config->text_encoders[0], open("text_encoder", "model"));
    unet_ = *UNet::Load(config->unet, open("unet", "diffusion_pytorch_model"));
    vae_ = *Vae::Load(config->vae, open("vae", "diffusion_pytorch_model"));
  }
  static void TearDownTestSuite() {
    text_.reset();
    unet_.reset();
    vae_.reset();
    std::filesystem::remove_all(folder_);
  }
  static Graph Denoise() { return unet_->BuildDenoise({kSide, kSide, 0}, kTokens).graph; }
  static Graph Decode() { return vae_->BuildDecode({kSide, kSide, 0}).graph; }

  // What lies in memory at once while some node runs, at most: no plan takes less. Residuals that
  // are added in place and what the caller keeps are left out, so it is a little low.
  static size_t MostAlive(const Graph& graph) {
    const int nodes = static_cast<int>(graph.nodes().size());
    std::vector<int> first(graph.tensors().size(), nodes), last(graph.tensors().size(), -1);
    for (int node = 0; node < nodes; ++node) {
      const Op& op = graph.nodes()[node].op;
      const auto use = [&](const Value& value) {
        first[value.tensor] = std::min(first[value.tensor], node);
        last[value.tensor] = std::max(last[value.tensor], node);
      };
      for (const Value& value : InputsOf(op)) use(value);
      first[OutputOf(op).tensor] = std::min(first[OutputOf(op).tensor], node);
      last[OutputOf(op).tensor] = std::max(last[OutputOf(op).tensor], node);
    }
    size_t most = 0;
    for (int node = 0; node < nodes; ++node) {
      size_t alive = 0;
      for (size_t t = 0; t < first.size(); ++t) {
        const TensorInfo& tensor = graph.tensors()[t];
        const bool added_in_place =
            last[t] == node && OutputOf(graph.nodes()[node].op).tensor != static_cast<int>(t);
        if (tensor.bound || first[t] > node || last[t] < node || added_in_place) continue;
        alive += tensor.shape.size() * (tensor.element == Element::kFloat ? 4 : 2);
      }
      most = std::max(most, alive);
    }
    return most;
  }
  static size_t Planned(const Graph& graph) {
    cpu::MemoryPlan plan(graph, 2);
    plan.Place();
    return plan.bytes();
  }

  static inline std::string folder_;
  static inline size_t files_bytes_ = 0;
  static inline std::unique_ptr<TextEncoder> text_;
  static inline std::unique_ptr<UNet> unet_;
  static inline std::unique_ptr<Vae> vae_;
};

TEST_F(MemoryTest, ActivationsTakeWhatIsAliveAtOnce) {
  const Graph denoise = Denoise(), decode = Decode();
  EXPECT_EQ(Planned(denoise), 42'089'216u);
  EXPECT_EQ(Planned(decode), 335'609'856u);
  EXPECT_LT(static_cast<double>(Planned(denoise)), 1.35 * static_cast<double>(MostAlive(denoise)));
  EXPECT_LT(static_cast<double>(Planned(decode)), 1.35 * static_cast<double>(MostAlive(decode)));
}

// Everything that a picture's programs hold at once, and weights once: below 1.3 times the files.
TEST_F(MemoryTest, APictureTakesLessThanItsFilesAndAThird) {
  if (!cpu::HasBf16()) GTEST_SKIP() << "no bf16 on this processor";
  omp_set_num_threads(2);
  const auto backend = MakeCpuBackend();
  size_t own = 0, weights = 0;
  const auto add = [&](const Graph& graph, Compute compute) {
    const auto memory = backend->MemoryFor(graph, compute);
    ASSERT_TRUE(memory.ok()) << memory.status();
    own += memory->own;
    weights += memory->weights;
  };
  add(text_->Build(kTokens, {}).graph, Compute::kFp32Sparing);
  add(unet_->BuildTime(kSteps).graph, Compute::kFp32Sparing);
  add(unet_->BuildContext(kTokens).graph, Compute::kBf16);
  add(Denoise(), Compute::kBf16);
  add(Decode(), Compute::kBf16);
  EXPECT_GT(own, size_t{360} << 20);        // a forward and a decode
  EXPECT_GT(weights, size_t{1'650} << 20);  // the UNet's and the decoder's
  EXPECT_LT(static_cast<double>(own + weights), 1.3 * static_cast<double>(files_bytes_));
  omp_set_num_threads(omp_get_num_procs());
}

}  // namespace
}  // namespace tiltshift::engine
