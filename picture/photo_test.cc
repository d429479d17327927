// Photos of every kind, and what is none: decoded here, and apart in the locked-down process.
#include "picture/photo.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <random>
#include <thread>

#include "picture/lock_down.h"
#include "picture/photo_process.h"
#include "picture/png.h"
#include "picture/testing/photos.h"

namespace tiltshift::picture {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

std::string Why(const absl::StatusOr<Image>& image) { return Message(image.status()); }

// Mean of each channel over a rectangle.
std::array<double, 3> MeanOf(const Image& image, int left, int top, int width, int height) {
  std::array<double, 3> sum{};
  for (int y = top; y < top + height; ++y) {
    for (int x = left; x < left + width; ++x) {
      for (int c = 0; c < 3; ++c)
        sum[static_cast<size_t>(c)] +=
            image.rgb[(static_cast<size_t>(y) * image.width + x) * 3 + c];
    }
  }
  for (double& value : sum) value /= width * height;
  return sum;
}

TEST(PhotoTest, EveryFormatComesOutAlike) {
  const Image scene = Scene(300, 200);
  for (const char* format : {".jpg", ".png", ".webp", ".heic"}) {
    const auto file = Saved(scene, format);
    if (!file) continue;  // no encoder here
    const auto photo = DecodePhoto(*file);
    ASSERT_TRUE(photo.ok()) << format << photo.status();
    ASSERT_EQ(photo->width, 300);
    ASSERT_EQ(photo->height, 200);
    double error = 0;
    for (size_t i = 0; i < scene.rgb.size(); ++i)
      error += std::abs(int{photo->rgb[i]} - int{scene.rgb[i]});
    EXPECT_LT(error / static_cast<double>(scene.rgb.size()), 6) << format;
  }
}

// The scene's top left is red: of a photo that was taken with the camera on its side as well.
TEST(PhotoTest, IsUprightWhateverExifSays) {
  const Image scene = Scene(64, 32);
  for (int orientation = 1; orientation <= 8; ++orientation) {
    const auto photo = DecodePhoto(*Saved(scene, ".jpg", {.orientation = orientation}));
    ASSERT_TRUE(photo.ok()) << photo.status();
    EXPECT_EQ(photo->width, orientation < 5 ? 64 : 32) << orientation;
  }
  const auto turned =
      DecodePhoto(*Saved(scene, ".jpg", {.orientation = 6}));  // a quarter clockwise
  const auto corner = MeanOf(*turned, 32 - 8, 0, 8, 8);
  EXPECT_GT(corner[0], corner[2] + 60);
}

TEST(PhotoTest, GreyAlphaAndWideSamplesBecomeRgb) {
  const Image scene = Scene(64, 64);
  for (const SaveOptions& options :
       {SaveOptions{.grey = true}, SaveOptions{.alpha = true}, SaveOptions{.wide = true}}) {
    const auto photo = DecodePhoto(*Saved(scene, ".png", options));
    ASSERT_TRUE(photo.ok()) << photo.status();
    EXPECT_EQ(photo->rgb.size(), 64u * 64 * 3);
  }
  // What is transparent shows white.
  const auto flat = DecodePhoto(*Saved(scene, ".png", {.alpha = true}));
  EXPECT_THAT(MeanOf(*flat, 40, 40, 16, 16), ::testing::Each(255));
  const auto grey = DecodePhoto(*Saved(scene, ".png", {.grey = true}));
  const auto mean = MeanOf(*grey, 0, 0, 64, 64);
  EXPECT_NEAR(mean[0], mean[2], 0.01);
  const auto wide = DecodePhoto(*Saved(scene, ".png", {.wide = true}));
  EXPECT_EQ(wide->rgb, scene.rgb);
}

// The same numbers under another profile are another colour.
TEST(PhotoTest, ColoursAreAsTheProfileMeansThem) {
  const Image scene = Scene(64, 64);
  const auto plain = DecodePhoto(*Saved(scene, ".png"));
  const auto p3 = DecodePhoto(*Saved(scene, ".png", {.profile = "p3"}));
  ASSERT_TRUE(p3.ok()) << p3.status();
  EXPECT_NE(plain->rgb, p3->rgb);
  const auto red = MeanOf(*plain, 0, 0, 8, 8), wider = MeanOf(*p3, 0, 0, 8, 8);
  EXPECT_GT(wider[0], red[0]);  // P3's red is redder
  const auto cmyk = DecodePhoto(*Saved(scene, ".jpg", {.profile = "cmyk"}));
  ASSERT_TRUE(cmyk.ok()) << cmyk.status();
}

TEST(PhotoTest, SaysWhatIsWrong) {
  EXPECT_EQ(Why(DecodePhoto("")), "the photo is empty");
  for (const char* none :
       {"<svg xmlns='http://www.w3.org/2000/svg'/>", "GIF89a", "%PDF-1.7", "BM", "II*",
        "\x7f"
        "ELF",
        "PK", "RIFF....AVI ", "plain text"})
    EXPECT_EQ(Why(DecodePhoto(none)), "this is no JPEG, PNG, WebP or HEIC photo") << none;
  EXPECT_THAT(Why(DecodePhoto(std::string(kLargestPhotoBytes + 1, '\xff'))),
              HasSubstr("at most 40 MB"));
  const std::string jpeg = *Saved(Scene(300, 200), ".jpg");
  EXPECT_EQ(Why(DecodePhoto(jpeg.substr(0, jpeg.size() / 2))),
            "the JPEG is damaged or cut off; send it again");
  EXPECT_THAT(Why(DecodePhoto(HugePng())), HasSubstr("60000x60000 pixels; at most 16384 a side"));
  EXPECT_THAT(Why(DecodePhoto(HugeJpeg())),
              AnyOf(HasSubstr("65500x65500 pixels"), HasSubstr("damaged")));
  EXPECT_THAT(Why(DecodePhoto(*Animated())), HasSubstr("animated, with 3 frames"));
}

TEST(PhotoProcessTest, DecodesAsWeDo) {
  const PhotoProcess process(DecoderProgram());
  const std::string jpeg = *Saved(Scene(1500, 1000), ".jpg", {.orientation = 8});
  const auto apart = process.Decode(jpeg);
  ASSERT_TRUE(apart.ok()) << apart.status();
  const auto here = DecodePhoto(jpeg);
  EXPECT_EQ(apart->width, 1000);
  EXPECT_TRUE(apart->rgb == here->rgb);
  for (const char* format : {".webp", ".heic", ".png"}) {
    const auto file = Saved(Scene(64, 48), format);
    if (!file) continue;
    const auto photo = process.Decode(*file);
    EXPECT_TRUE(photo.ok()) << format << photo.status();
  }
  EXPECT_EQ(Why(process.Decode("nothing")), "this is no JPEG, PNG, WebP or HEIC photo");
  EXPECT_THAT(Why(process.Decode(HugePng())), HasSubstr("60000x60000"));
}

TEST(PhotoProcessTest, ADecoderThatDiesOrLiesIsThePhotosFault) {
  // Takes orders as the decoder does, and has this to say to each.
  const std::string program = testing::TempDir() + "/liar";
  for (const char* answer :
       {"b''", "b'RIFF'", "struct.pack('<Iiiii', 0x31544854, 0, 1 << 30, 1, 0)"}) {
    std::ofstream(program) << "#!/usr/bin/env python3\n"
                              "import os, socket, struct\n"
                              "orders = socket.socket(fileno=0)\n"
                              "while True:\n"
                              "  _, descriptors, _, _ = socket.recv_fds(orders, 1, 2)\n"
                              "  if not descriptors: break\n"
                              "  os.write(descriptors[1], "
                           << answer
                           << ")\n"
                              "  socket.send_fds(orders, [b'x'], [descriptors[0]])\n"
                              "  for one in descriptors: os.close(one)\n";
    std::filesystem::permissions(program, std::filesystem::perms::owner_all);
    const auto image = PhotoProcess(program).Decode("RIFF");
    EXPECT_EQ(image.status().code(), absl::StatusCode::kInvalidArgument) << answer << Why(image);
    EXPECT_THAT(Why(image), HasSubstr("stops its decoder"));
  }
  for (const char* none : {"/nonexistent/decoder", "/bin/false"})
    EXPECT_EQ(PhotoProcess(none).Decode("x").status().code(),
              absl::StatusCode::kFailedPrecondition);
}

// Of this process, or of another.
std::vector<pid_t> Children(const std::string& of) {
  std::ifstream file("/proc/" + of + "/task/" + (of == "self" ? std::to_string(getpid()) : of) +
                     "/children");
  return {std::istream_iterator<pid_t>(file), {}};
}

TEST(PhotoProcessTest, WhoeverIsKilledTheNextPhotoIsDecoded) {
  const PhotoProcess process(DecoderProgram());
  const std::string jpeg = *Saved(Scene(64, 48), ".jpg", {});
  ASSERT_TRUE(process.Decode(jpeg).ok());
  const auto hosts = Children("self");
  ASSERT_EQ(hosts.size(), 1u);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int photo = 0; photo < 10; ++photo) EXPECT_TRUE(process.Decode(jpeg).ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
  kill(hosts[0], SIGKILL);
  EXPECT_TRUE(process.Decode(jpeg).ok());
  EXPECT_NE(Children("self"), hosts);
}

// A child that locks itself down and then does it: how it ends.
int EndOf(const std::function<int()>& what) {
  const pid_t pid = fork();
  if (pid == 0) {
    if (!LockDown({.cpu_seconds = 1}).ok()) _exit(100);
    _exit(what());
  }
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

TEST(LockDownTest, LeavesNothingButComputing) {
  EXPECT_EQ(EndOf([] { return 7; }), 7);
  EXPECT_EQ(EndOf([] { return open("/etc/passwd", O_RDONLY) < 0 && errno == EACCES ? 1 : 0; }), 1);
  EXPECT_EQ(EndOf([] { return open("/tmp/x", O_CREAT | O_WRONLY, 0600) < 0 ? 1 : 0; }), 1);
  EXPECT_EQ(EndOf([] {
              return mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                          0) != MAP_FAILED;
            }),
            1);
  const std::pair<const char*, std::function<int()>> killed[] = {
      {"socket", [] { return socket(AF_INET, SOCK_STREAM, 0); }},
      {"execve", [] { return execl("/bin/true", "true", nullptr); }},
      {"fork", [] { return static_cast<int>(fork()); }},
      {"memory to execute",
       [] {
         return mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
                MAP_FAILED;
       }},
      {"kill", [] { return kill(getppid(), 0); }},
      {"ptrace", [] { return static_cast<int>(ptrace(PTRACE_ATTACH, getppid(), 0, 0)); }}};
  for (const auto& [name, what] : killed) EXPECT_EQ(EndOf(what), -SIGSYS) << name;
  EXPECT_THAT(EndOf([] {
                for (std::atomic<int> i = 0;; ++i) {
                }
                return 0;
              }),
              AnyOf(-SIGXCPU, -SIGKILL));
}

// What strangers send: cut off, changed, made of two formats, bombs. An error in words or a
// picture; never a crash.
class HostilePhotoTest : public ::testing::Test {
 protected:
  // One of them, by number.
  std::string Upload(int number) {
    std::mt19937 random(static_cast<unsigned>(number));
    std::string bytes = seeds_[static_cast<size_t>(number) % seeds_.size()];
    const auto anywhere = [&] { return random() % bytes.size(); };
    switch (number / static_cast<int>(seeds_.size()) % 5) {
      case 0:
        return bytes.substr(0, anywhere());
      case 1:
        for (int i = 0; i < 20; ++i) bytes[anywhere()] = static_cast<char>(random());
        return bytes;
      case 2:  // in the header, where the promises are
        for (int i = 0; i < 4; ++i)
          bytes[random() % std::min<size_t>(bytes.size(), 200)] = static_cast<char>(random());
        return bytes;
      case 3: {
        const std::string& other = seeds_[random() % seeds_.size()];
        return bytes.substr(0, anywhere()) + other.substr(random() % other.size());
      }
      default:
        bytes.erase(anywhere(), random() % 1'000);
        return bytes + bytes;
    }
  }
  static void ExpectWords(const absl::StatusOr<Image>& image, int number) {
    if (image.ok()) {
      EXPECT_EQ(image->rgb.size(),
                static_cast<size_t>(image->width) * static_cast<size_t>(image->height) * 3)
          << number;
      return;
    }
    EXPECT_THAT(image.status().code(),
                AnyOf(absl::StatusCode::kInvalidArgument, absl::StatusCode::kUnimplemented))
        << number;
    EXPECT_GT(image.status().message().size(), 10u) << number;
  }
  std::vector<std::string> seeds_ = HostileSeeds();
};

TEST_F(HostilePhotoTest, AThousandUploadsAreErrorsInWordsOrPictures) {
  for (int number = 0; number < 1'000; ++number) ExpectWords(DecodePhoto(Upload(number)), number);
}

TEST_F(HostilePhotoTest, ApartAsWell) {
  const PhotoProcess process(DecoderProgram());
  for (int number = 0; number < 24; ++number) {
    const std::string upload = Upload(number * 41);
    const auto apart = process.Decode(upload);
    ExpectWords(apart, number);
    EXPECT_THAT(Why(apart), ::testing::Not(HasSubstr("stops its decoder"))) << number * 41;
    EXPECT_EQ(apart.ok(), DecodePhoto(upload).ok()) << number * 41;
  }
}

}  // namespace
}  // namespace tiltshift::picture
