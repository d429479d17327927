// I4 over the modes and over slots that render at once: batches of 1 to 8, the target's place in
// them, what its neighbours and its own slot rendered before, threads, and a process of its own.
// One SHA-256 for each target.
#include <gtest/gtest.h>
#include <omp.h>
#include <unistd.h>

#include <barrier>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <thread>

#include "base/hash.h"
#include "engine/cpu/isa.h"
#include "engine/renderer.h"
#include "engine/testing/parity_case.h"

namespace tiltshift::engine {
namespace {

constexpr int kSlots = 8;

struct Target {
  const char* model;  // of tests/goldens/parity/cases.json
  Mode mode;
};
constexpr Target kTargets[] = {{"small", Mode::kTextToImage}, {"small", Mode::kImageToImage},
                               {"small", Mode::kInpaint},     {"photo", Mode::kEdit},
                               {"mask", Mode::kInpaint},      {"taesd", Mode::kImageToImage}};

std::shared_ptr<const Model> LoadNamed(const std::string& name, Precision precision) {
  static auto& known =
      *new std::map<std::pair<std::string, Precision>, std::shared_ptr<const Model>>;
  auto& model = known[{name, precision}];
  if (model != nullptr) return model;
  const std::string folder =
      absl::StrCat(::testing::TempDir(), "same_bits_", ::getpid(), "_", name);
  EXPECT_TRUE(WriteParityModel(TILTSHIFT_SOURCE_DIR, name, folder).ok());
  auto loaded = Model::Load(folder, {precision});
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  return model = loaded.ok() ? *loaded : nullptr;
}

// A photo and a mask of some size, and requests for them.
class Requests {
 public:
  Requests() : photo_{50, 40, std::vector<uint8_t>(3 * 50 * 40)}, mask_(photo_) {
    for (size_t i = 0; i < photo_.rgb.size(); ++i) {
      photo_.rgb[i] = static_cast<uint8_t>(i * 37 % 251);
      mask_.rgb[i] = i / 3 % 50 > 20 ? 255 : 0;
    }
  }

  RenderRequest For(Mode mode) const {
    RenderRequest request;
    request.prompt = "a miniature blue cat on a round wooden base";
    request.negative_prompt = "blurry";
    request.seed = 11;
    request.width = 80;
    request.height = 64;
    request.steps = 3;
    request.sampler = SamplerKind::kEulerAncestral;
    request.mode = mode;
    if (mode != Mode::kTextToImage) request.photo = photo_.view();
    if (mode == Mode::kInpaint) request.mask = mask_.view();
    return request;
  }

  // Another render for each n, of a mode that the same model does.
  RenderRequest Neighbour(const Target& target, int n) const {
    const bool usual = target.model == std::string("small") || target.model == std::string("taesd");
    const Mode modes[] = {Mode::kTextToImage, Mode::kImageToImage, Mode::kInpaint};
    RenderRequest request = For(usual ? modes[n % 3] : target.mode);
    request.prompt = absl::StrCat("a red robot ", n);
    request.seed = 1000 + n;
    request.width = 64 + 16 * (n % 3);
    request.steps = 2;
    request.guidance_scale = n % 4 == 0 ? 1 : 5;
    request.sampler = n % 2 == 0 ? SamplerKind::kDpmpp2m : SamplerKind::kEulerAncestral;
    return request;
  }

 private:
  RgbImage photo_, mask_;
};

std::string SelfPath() {
  char path[4096];
  const ssize_t size = readlink("/proc/self/exe", path, sizeof(path));
  return size > 0 ? std::string(path, size) : "";
}

std::string HashOf(Renderer& renderer, const RenderRequest& request) {
  const auto picture = renderer.Render(request);
  EXPECT_TRUE(picture.ok()) << picture.status();
  if (!picture.ok()) return "";
  return Sha256Hex(
      std::string_view(reinterpret_cast<const char*>(picture->rgb.data()), picture->rgb.size()));
}

class SameBitsTest : public ::testing::TestWithParam<std::tuple<Precision, size_t>> {
 protected:
  void SetUp() override {
    if (precision() == Precision::kBf16 && !cpu::HasBf16())
      GTEST_SKIP() << "no bf16 on this processor";
    model_ = LoadNamed(target().model, precision());
    ASSERT_NE(model_, nullptr);
  }
  void TearDown() override { omp_set_num_threads(omp_get_num_procs()); }

  Precision precision() const { return std::get<0>(GetParam()); }
  const Target& target() const { return kTargets[std::get<1>(GetParam())]; }
  std::string Alone(int threads) const {
    omp_set_num_threads(threads);
    Renderer renderer(model_);
    return HashOf(renderer, requests_.For(target().mode));
  }

  const Requests requests_;
  std::shared_ptr<const Model> model_;
};

TEST_P(SameBitsTest, I4InEveryBatchAndPlace) {
  const std::string expected = Alone(1);
  std::vector<std::unique_ptr<Renderer>> slots;
  for (int i = 0; i < kSlots; ++i) slots.push_back(std::make_unique<Renderer>(model_));
  int rendered = 0;
  for (int batch = 1; batch <= kSlots; ++batch) {
    const int places[] = {0, batch - 1, batch / 2};
    const int place = places[batch % 3];
    std::barrier together(batch);
    std::string found;
    std::vector<std::thread> threads;
    for (int slot = 0; slot < batch; ++slot) {
      threads.emplace_back([&, slot, n = rendered++] {
        omp_set_num_threads(1 + n % 2);
        together.arrive_and_wait();
        if (slot == place) {
          found = HashOf(*slots[slot], requests_.For(target().mode));
        } else {
          HashOf(*slots[slot], requests_.Neighbour(target(), n));
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(found, expected) << "place " << place << " in a batch of " << batch;
  }
}

TEST_P(SameBitsTest, I4ForThreadsAndInAProcessOfItsOwn) {
  const std::string expected = Alone(1);
  if (std::getenv("TILTSHIFT_PRINT_HASH") != nullptr) {  // this is that process
    std::printf("hash %s\n", expected.c_str());
    return;
  }
  EXPECT_EQ(Alone(2), expected);
  const ::testing::TestInfo& info = *::testing::UnitTest::GetInstance()->current_test_info();
  const std::string command =
      absl::StrCat("TILTSHIFT_PRINT_HASH=1 ", SelfPath(),
                   " --gtest_filter=", info.test_suite_name(), ".", info.name());
  FILE* child = popen(command.c_str(), "r");
  ASSERT_NE(child, nullptr);
  std::string out;
  for (int c; (c = std::fgetc(child)) != EOF;) out += static_cast<char>(c);
  EXPECT_EQ(pclose(child), 0);
  EXPECT_NE(out.find("hash " + expected), std::string::npos) << out;
}

std::string NameOf(const ::testing::TestParamInfo<std::tuple<Precision, size_t>>& info) {
  const char* modes[] = {"Text", "Image", "Edit", "Inpaint"};
  const Target& target = kTargets[std::get<1>(info.param)];
  return absl::StrCat(std::get<0>(info.param) == Precision::kFp32 ? "Fp32" : "Bf16",
                      modes[static_cast<int>(target.mode)], "With", target.model);
}

INSTANTIATE_TEST_SUITE_P(Targets, SameBitsTest,
                         ::testing::Combine(::testing::Values(Precision::kFp32, Precision::kBf16),
                                            ::testing::Range(size_t{0}, std::size(kTargets))),
                         NameOf);

}  // namespace
}  // namespace tiltshift::engine
