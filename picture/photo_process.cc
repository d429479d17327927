#include "picture/photo_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>

#include "base/program.h"
#include "picture/photo.h"
#include "picture/photo_pipe.h"

namespace tiltshift::picture {
namespace {

constexpr auto kPatience = std::chrono::seconds(60);
constexpr char kDecoder[] = "tiltshift-photo-decoder";

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor() { Close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  void Set(int fd) { fd_ = fd; }
  void Close() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

absl::Status Trouble(const char* what) {
  return absl::InternalError(absl::StrCat(what, ": errno ", errno));
}

// The photo in a file that has no name and no disk.
absl::Status PutInMemory(std::string_view bytes, Descriptor& file) {
  file.Set(memfd_create("photo", MFD_CLOEXEC));
  if (file.get() < 0) return Trouble("memfd_create");
  for (std::string_view left = bytes; !left.empty();) {
    const ssize_t count = write(file.get(), left.data(), left.size());
    if (count <= 0) return Trouble("memory for a photo");
    left.remove_prefix(static_cast<size_t>(count));
  }
  return lseek(file.get(), 0, SEEK_SET) == 0 ? absl::OkStatus() : Trouble("lseek");
}

// A decoder at work; killed and waited for with the object.
class Decoder {
 public:
  static absl::StatusOr<Decoder> Start(const std::string& program, int input, int output) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    char* arguments[] = {const_cast<char*>(program.c_str()), nullptr};
    pid_t pid = -1;
    const int error = posix_spawnp(&pid, program.c_str(), &actions, nullptr, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error == 0) return Decoder(pid);
    return absl::FailedPreconditionError(absl::StrCat(program, " can't be started (errno ", error,
                                                      "); it is installed beside this program"));
  }
  Decoder(Decoder&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  Decoder& operator=(Decoder&&) = delete;
  ~Decoder() {
    if (pid_ < 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

 private:
  explicit Decoder(pid_t pid) : pid_(pid) {}
  pid_t pid_;
};

// Whole, before the time is up; false where the pipe ends first.
bool ReadAll(int fd, void* to, size_t size, std::chrono::steady_clock::time_point until) {
  for (char* at = static_cast<char*>(to); size > 0;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        until - std::chrono::steady_clock::now());
    pollfd wait{fd, POLLIN, 0};
    if (left.count() <= 0 || poll(&wait, 1, static_cast<int>(left.count())) <= 0) return false;
    const ssize_t count = read(fd, at, size);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    at += count;
    size -= static_cast<size_t>(count);
  }
  return true;
}

absl::Status Died() {
  return absl::InvalidArgumentError(
      "the photo is damaged in a way that stops its decoder; open it with another program and save "
      "it anew");
}

// The decoder has read a stranger's bytes: what it says is checked like theirs.
absl::StatusOr<Image> ReadAnswer(int fd) {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  PhotoAnswer answer;
  if (!ReadAll(fd, &answer, sizeof(answer), until) || answer.magic != PhotoAnswer().magic)
    return Died();
  if (answer.code != 0) {
    std::string message(
        static_cast<size_t>(std::clamp(answer.message_bytes, 0, static_cast<int>(kLongestAnswer))),
        ' ');
    if (!ReadAll(fd, message.data(), message.size(), until)) return Died();
    std::replace_if(
        message.begin(), message.end(), [](unsigned char c) { return c < 0x20 || c >= 0x7f; }, '?');
    const auto code = static_cast<absl::StatusCode>(answer.code);
    const bool known =
        code == absl::StatusCode::kFailedPrecondition || code == absl::StatusCode::kUnimplemented;
    return absl::Status(known ? code : absl::StatusCode::kInvalidArgument, message);
  }
  Image image{answer.width, answer.height, {}};
  const bool fits = image.width > 0 && image.height > 0 && image.width <= kLongestPhotoSide &&
                    image.height <= kLongestPhotoSide &&
                    int64_t{image.width} * image.height <= kMostPhotoPixels;
  if (!fits) return Died();
  image.rgb.resize(static_cast<size_t>(image.width) * static_cast<size_t>(image.height) * 3);
  if (!ReadAll(fd, image.rgb.data(), image.rgb.size(), until)) return Died();
  return image;
}

}  // namespace

PhotoProcess::PhotoProcess(std::string program)
    : program_(program.empty() ? ProgramBeside(kDecoder) : std::move(program)) {}

absl::StatusOr<Image> PhotoProcess::Decode(std::string_view bytes) const {
  TS_RETURN_IF_ERROR(CheckPhotoBytes(bytes.size()));
  Descriptor photo, from_decoder, to_us;
  TS_RETURN_IF_ERROR(PutInMemory(bytes, photo));
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return Trouble("pipe");
  from_decoder.Set(ends[0]);
  to_us.Set(ends[1]);
  TS_ASSIGN_OR_RETURN(const Decoder decoder, Decoder::Start(program_, photo.get(), to_us.get()));
  to_us.Close();  // the decoder's end alone is left: its death is the end of the answer
  return ReadAnswer(from_decoder.get());
}

}  // namespace tiltshift::picture
