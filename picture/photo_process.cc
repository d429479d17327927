#include "picture/photo_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <mutex>
#include <utility>
#include <vector>

#include "base/program.h"
#include "picture/photo.h"
#include "picture/photo_pipe.h"

namespace tiltshift::picture {
namespace {

constexpr auto kPatience = std::chrono::seconds(60);
constexpr int kStartPatienceSeconds = 30;  // for a machine that is busy
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

// One photo's decoder at work; killed with the object.
class Decoder {
 public:
  explicit Decoder(int pidfd) : pidfd_(pidfd) {}
  Decoder(Decoder&& other) noexcept : pidfd_(std::exchange(other.pidfd_, -1)) {}
  Decoder& operator=(Decoder&&) = delete;
  ~Decoder() {
    if (pidfd_ < 0) return;
    syscall(SYS_pidfd_send_signal, pidfd_, SIGKILL, nullptr, 0);
    close(pidfd_);
  }

 private:
  int pidfd_;
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
      "the photo is damaged in a way that stops its decoder; open it with "
      "another program and save "
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

// The process that decoders are forked from: started when the first photo comes, and anew where it
// has died.
class PhotoProcess::Host {
 public:
  explicit Host(std::string program) : program_(std::move(program)) {}
  ~Host() { End(); }

  absl::StatusOr<Decoder> Begin(int photo, int answer) {
    std::lock_guard lock(mutex_);
    for (int attempt = 0; attempt < 2; ++attempt) {
      if (pid_ < 0) TS_RETURN_IF_ERROR(Start());
      const int order[] = {photo, answer};
      if (SendDescriptors(socket_.get(), order)) {
        const std::vector<int> begun = ReceiveDescriptors(socket_.get());
        if (begun.size() == 1) return Decoder(begun[0]);
        for (const int descriptor : begun) close(descriptor);
      }
      End();
    }
    return absl::FailedPreconditionError(
        absl::StrCat(program_, " ends, or does not answer, when it is to decode a photo"));
  }

 private:
  absl::Status Start() {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
      return Trouble("socketpair");
    socket_.Set(ends[0]);
    Descriptor theirs(ends[1]);
    const timeval patience{.tv_sec = kStartPatienceSeconds, .tv_usec = 0};
    setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, theirs.get(), STDIN_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    char* arguments[] = {const_cast<char*>(program_.c_str()), nullptr};
    const int error = posix_spawnp(&pid_, program_.c_str(), &actions, nullptr, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error == 0) return absl::OkStatus();
    pid_ = -1;
    return absl::FailedPreconditionError(absl::StrCat(program_, " can't be started (errno ", error,
                                                      "); it is installed beside this program"));
  }

  void End() {
    socket_.Close();
    if (pid_ < 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

  const std::string program_;
  std::mutex mutex_;
  Descriptor socket_;
  pid_t pid_ = -1;
};

PhotoProcess::PhotoProcess(std::string program)
    : host_(
          std::make_unique<Host>(program.empty() ? ProgramBeside(kDecoder) : std::move(program))) {}
PhotoProcess::~PhotoProcess() = default;

absl::StatusOr<Image> PhotoProcess::Decode(std::string_view bytes) const {
  TS_RETURN_IF_ERROR(CheckPhotoBytes(bytes.size()));
  Descriptor photo, from_decoder, to_us;
  TS_RETURN_IF_ERROR(PutInMemory(bytes, photo));
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return Trouble("pipe");
  from_decoder.Set(ends[0]);
  to_us.Set(ends[1]);
  TS_ASSIGN_OR_RETURN(const Decoder decoder, host_->Begin(photo.get(), to_us.get()));
  to_us.Close();  // the decoder's end alone is left: its death is the end of the answer
  return ReadAnswer(from_decoder.get());
}

}  // namespace tiltshift::picture
