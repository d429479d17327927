// Models loaded by way of a cache: the same bits (I4), from the cache where it may be, from the
// model where it may not.
#include "engine/pack/weight_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>

#include "base/file.h"
#include "base/hash.h"
#include "engine/cpu/isa.h"
#include "engine/pack/model_identity.h"
#include "engine/renderer.h"
#include "engine/testing/parity_case.h"

namespace tiltshift::engine {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr char kFolderOfParent[] = "TILTSHIFT_WEIGHT_CACHE_TEST";

std::string PixelsOf(const std::shared_ptr<const Model>& model) {
  Renderer renderer(model);
  const auto picture =
      renderer.Render({.prompt = "a red robot", .seed = 5, .width = 64, .height = 64, .steps = 2});
  EXPECT_TRUE(picture.ok()) << picture.status();
  return picture.ok() ? std::string(picture->rgb.begin(), picture->rgb.end()) : "";
}

class WeightCacheTest : public ::testing::TestWithParam<Precision> {
 protected:
  void SetUp() override {
    if (GetParam() == Precision::kBf16 && !cpu::HasBf16())
      GTEST_SKIP() << "no bf16 on this processor";
    if (const char* parents = std::getenv(kFolderOfParent)) {
      folder_ = parents;
      return;
    }
    folder_ = absl::StrCat(::testing::TempDir(), "weight_cache_", ::getpid());
    fs::remove_all(folder_);
    ASSERT_TRUE(WriteParityModel(TILTSHIFT_SOURCE_DIR, "small", model()).ok());
  }
  void TearDown() override {
    if (folder_.empty() || IsChild()) return;
    chmod(cache().c_str(), 0755);
    fs::remove_all(folder_);
  }
  std::string model() const { return folder_ + "/model"; }
  std::string cache() const { return folder_ + "/cache"; }

  WeightCacheOptions Options() {
    return {.folder = cache(), .keep_free = 0, .log = [this](const std::string& line) {
              log_.push_back(line);
            }};
  }
  // By a cache of its own, as a process has, which has published when this returns.
  std::shared_ptr<const Model> Load(WeightCacheOptions options) {
    const auto loaded =
        Model::Load(model(), {.precision = GetParam(),
                              .weight_cache = std::make_shared<WeightCache>(std::move(options))});
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    return loaded.ok() ? *loaded : nullptr;
  }
  std::shared_ptr<const Model> Load() { return Load(Options()); }
  std::shared_ptr<const Model> LoadWithout() {
    return *Model::Load(model(), {.precision = GetParam()});
  }

  std::vector<std::string> Files(const std::string& ending) const {
    std::vector<std::string> files;
    for (const auto& entry : fs::directory_iterator(cache()))
      if (entry.path().string().ends_with(ending)) files.push_back(entry.path());
    return files;
  }
  std::string Pack() const {
    const auto packs = Files(".pack");
    EXPECT_THAT(packs, SizeIs(1));
    return packs.empty() ? "" : packs[0];
  }
  // This test again in so many processes of its own, at once, by the same folder: IsChild there.
  static bool IsChild() { return std::getenv(kFolderOfParent) != nullptr; }
  void RunChildren(int count) const {
    const ::testing::TestInfo& info = *::testing::UnitTest::GetInstance()->current_test_info();
    const std::string command = absl::StrCat(
        kFolderOfParent, "=", folder_, " ", fs::read_symlink("/proc/self/exe").string(),
        " --gtest_filter=", info.test_suite_name(), ".", info.name());
    std::vector<FILE*> children;
    for (int i = 0; i < count; ++i) children.push_back(popen(command.c_str(), "r"));
    for (FILE* child : children) {
      std::string out;
      for (int c; (c = std::fgetc(child)) != EOF;) out += static_cast<char>(c);
      EXPECT_EQ(pclose(child), 0) << out;
    }
  }
  static uint64_t InodeOf(const std::string& path) {
    struct stat info = {};
    stat(path.c_str(), &info);
    return info.st_ino;
  }

  std::string folder_;
  std::vector<std::string> log_;
};

TEST_P(WeightCacheTest, SameBitsWithAndWithoutAndTheSecondMakesNothing) {
  const auto without = LoadWithout();
  const std::string pixels = PixelsOf(without);
  const auto first = Load();
  EXPECT_EQ(PixelsOf(first), pixels);
  const uint64_t pack = InodeOf(Pack());
  const auto second = Load();
  EXPECT_EQ(PixelsOf(second), pixels);
  EXPECT_EQ(InodeOf(Pack()), pack);
  EXPECT_THAT(Files(".tmp"), IsEmpty());
  EXPECT_THAT(Files(".hash"), SizeIs(1));
  EXPECT_THAT(log_, IsEmpty());
  for (const auto& model : {first, second}) {
    EXPECT_EQ(model->hash(), without->hash());
    EXPECT_EQ(model->render_class(), without->render_class());
  }
}

// What a pack says is what is rendered: so the second start does not read the model.
TEST_P(WeightCacheTest, TheSecondStartRendersFromThePack) {
  const std::string pixels = PixelsOf(Load());
  const std::string path = Pack();
  std::string bytes = *ReadFile(path);
  const auto directory = ParsePack(bytes, path);
  ASSERT_TRUE(directory.ok());
  PackDirectory changed = *directory;
  for (PackPiece& piece : changed.pieces) {
    if (!piece.key.starts_with("unet/")) continue;
    std::memset(&bytes[piece.offset], 0, piece.bytes);
    piece.sample = PackSample(std::string_view(bytes).substr(piece.offset, piece.bytes));
  }
  const uint64_t end = changed.pieces.back().offset + changed.pieces.back().bytes;
  const std::string text = EncodePackDirectory(changed);
  bytes.resize(end);
  bytes.replace(0, kPackHeaderBytes, EncodePackHeader(end, text));
  ASSERT_TRUE(WriteFileAtomic(path, bytes + text, IfPresent::kReplace).ok());
  EXPECT_NE(PixelsOf(Load()), pixels);
  EXPECT_THAT(log_, IsEmpty());
}

TEST_P(WeightCacheTest, DamagedOnesAreMadeAnew) {
  const std::string pixels = PixelsOf(Load());
  const std::string path = Pack(), whole = *ReadFile(path);
  std::string hole = whole;
  std::memset(&hole[whole.size() / 2], 0, whole.size() / 4);
  for (const std::string& bytes : {std::string(), whole.substr(0, whole.size() / 2), hole}) {
    log_.clear();
    ASSERT_TRUE(WriteFileAtomic(path, bytes, IfPresent::kReplace).ok());
    EXPECT_EQ(PixelsOf(Load()), pixels);
    EXPECT_THAT(log_, ElementsAre(HasSubstr("made anew")));
    EXPECT_EQ(Sha256Hex(*ReadFile(path)), Sha256Hex(whole));
  }
  ASSERT_TRUE(WriteFileAtomic(Files(".hash")[0], "nonsense", IfPresent::kReplace).ok());
  EXPECT_EQ(Load()->hash(), LoadWithout()->hash());
}

TEST_P(WeightCacheTest, AChangedModelGetsAPackOfItsOwn) {
  const auto before = Load();
  const std::string pixels = PixelsOf(before), old = Pack();
  const std::string weights = model() + "/unet/diffusion_pytorch_model.safetensors";
  std::string bytes = *ReadFile(weights);
  const std::string restored = bytes;
  bytes[bytes.size() - 2] ^= 0x40;  // of a tensor's last number
  {                                 // in place: the name, the size and the inode stay
    FILE* file = fopen(weights.c_str(), "r+b");
    fwrite(bytes.data(), 1, bytes.size(), file);
    fclose(file);
  }
  const auto after = Load();
  EXPECT_NE(after->hash(), before->hash());
  EXPECT_EQ(after->hash(), LoadWithout()->hash());
  EXPECT_EQ(PixelsOf(after), PixelsOf(LoadWithout()));
  EXPECT_NE(Pack(), old);  // and the old one is gone
  ASSERT_TRUE(WriteFileAtomic(weights, restored, IfPresent::kReplace).ok());
  const auto again = Load();
  EXPECT_EQ(again->hash(), before->hash());
  EXPECT_EQ(PixelsOf(again), pixels);
}

TEST_P(WeightCacheTest, WithoutAFolderToWriteToItPacksForItself) {
  const std::string pixels = PixelsOf(LoadWithout());
  if (geteuid() != 0) {  // nothing is read-only to root
    fs::create_directories(cache());
    chmod(cache().c_str(), 0555);
    EXPECT_EQ(PixelsOf(Load()), pixels);
    EXPECT_THAT(log_.back(), HasSubstr("are this process' own"));
  }
  WeightCacheOptions options = Options();
  options.folder = "/proc/nothing/here";
  EXPECT_EQ(PixelsOf(Load(options)), pixels);
  EXPECT_THAT(log_, Contains(HasSubstr("are this process' own")));
}

TEST_P(WeightCacheTest, AFullDiskIsLeftAlone) {
  WeightCacheOptions options = Options();
  options.keep_free = uint64_t{1} << 60;
  EXPECT_EQ(PixelsOf(Load(options)), PixelsOf(LoadWithout()));
  EXPECT_THAT(Files(".pack"), IsEmpty());
  EXPECT_THAT(log_, ElementsAre(HasSubstr("are this process' own")));
}

// A disk that fills up under the writer: here a limit on the size of its files.
TEST_P(WeightCacheTest, ADiskThatFillsUpIsNoCrash) {
  if (!IsChild()) return RunChildren(1);
  const std::string pixels = PixelsOf(LoadWithout());
  const rlimit limit = {1 << 20, 1 << 20};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  signal(SIGXFSZ, SIG_IGN);
  EXPECT_EQ(PixelsOf(Load()), pixels);
  EXPECT_THAT(log_, ElementsAre(HasSubstr("are this process' own")));
  EXPECT_THAT(Files(".pack"), IsEmpty());
  EXPECT_THAT(Files(".tmp"), IsEmpty());
}

TEST_P(WeightCacheTest, ProcessesAtOnceMakeOne) {
  if (IsChild()) {
    EXPECT_NE(Load(), nullptr);
    EXPECT_THAT(log_, IsEmpty());
    return;
  }
  RunChildren(4);
  EXPECT_THAT(Files(".tmp"), IsEmpty());
  const uint64_t pack = InodeOf(Pack());
  EXPECT_EQ(PixelsOf(Load()), PixelsOf(LoadWithout()));
  EXPECT_EQ(InodeOf(Pack()), pack);
}

TEST_P(WeightCacheTest, TheOnesUsedLongestAgoGo) {
  Load();
  const std::string first = Pack();
  ASSERT_TRUE(
      WriteFileAtomic(cache() + "/abandoned.pack.tmp", "of a killed process", IfPresent::kReplace)
          .ok());
  fs::copy(model(), folder_ + "/other", fs::copy_options::recursive);
  WeightCacheOptions options = Options();
  options.most_bytes = fs::file_size(first) * 3 / 2;
  const auto other = Model::Load(
      folder_ + "/other",
      {.precision = GetParam(), .weight_cache = std::make_shared<WeightCache>(options)});
  ASSERT_TRUE(other.ok());
  EXPECT_FALSE(fs::exists(first));
  EXPECT_THAT(Files(".pack"), SizeIs(1));
  EXPECT_THAT(Files(".tmp"), IsEmpty());
}

TEST_P(WeightCacheTest, IdentityFollowsTheFiles) {
  const auto before = ModelIdentity(model());
  ASSERT_TRUE(before.ok());
  EXPECT_EQ(*ModelIdentity(model()), *before);
  ASSERT_TRUE(WriteFileAtomic(model() + "/notes.txt", "no part of it", IfPresent::kReplace).ok());
  EXPECT_EQ(*ModelIdentity(model()), *before);
  const std::string config = model() + "/unet/config.json";
  ASSERT_TRUE(WriteFileAtomic(config, *ReadFile(config), IfPresent::kReplace).ok());
  EXPECT_NE(*ModelIdentity(model()), *before);
  EXPECT_TRUE(absl::IsNotFound(ModelIdentity(folder_).status()));
}

INSTANTIATE_TEST_SUITE_P(Precisions, WeightCacheTest,
                         ::testing::Values(Precision::kBf16, Precision::kFp32),
                         [](const auto& info) {
                           return info.param == Precision::kBf16 ? "bf16" : "fp32";
                         });

}  // namespace
}  // namespace tiltshift::engine
