// tiltshift-photo-decoder: forks a process a photo, which locks itself down before it reads a byte
// of it. For photo_process.cc alone; photo_pipe.h says what goes between them. Started once,
// because that takes longer than most photos: what is forked has libvips ready.
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "picture/lock_down.h"
#include "picture/photo.h"
#include "picture/photo_pipe.h"
#include "picture/vips.h"

namespace tiltshift::picture {
namespace {

absl::StatusOr<std::string> ReadInput() {
  std::string bytes;
  for (char buffer[1 << 16];;) {
    const ssize_t count = read(STDIN_FILENO, buffer, sizeof(buffer));
    if (count < 0) return absl::InternalError("standard input can't be read");
    if (count == 0) return bytes;
    bytes.append(buffer, static_cast<size_t>(count));
    if (bytes.size() > kLargestPhotoBytes) return bytes;  // DecodePhoto refuses it
  }
}

bool WriteAll(const void* data, size_t size) {
  for (const char* at = static_cast<const char*>(data); size > 0;) {
    const ssize_t count = write(STDOUT_FILENO, at, size);
    if (count <= 0) return false;
    at += count;
    size -= static_cast<size_t>(count);
  }
  return true;
}

int Answer(const absl::StatusOr<Image>& image) {
  PhotoAnswer answer;
  answer.code = static_cast<int32_t>(image.status().code());
  const std::string message = Message(image.status());
  if (image.ok()) {
    answer.width = image->width;
    answer.height = image->height;
  } else {
    answer.message_bytes = static_cast<int32_t>(std::min(message.size(), kLongestAnswer));
  }
  const bool written =
      WriteAll(&answer, sizeof(answer)) &&
      (image.ok() ? WriteAll(image->rgb.data(), image->rgb.size())
                  : WriteAll(message.data(), static_cast<size_t>(answer.message_bytes)));
  return written ? 0 : 1;
}

absl::StatusOr<Image> Run() {
  TS_RETURN_IF_ERROR(LockDown({}));
  TS_ASSIGN_OR_RETURN(const std::string bytes, ReadInput());
  return DecodePhoto(bytes);
}

// The process of one photo.
[[noreturn]] void DecodeAlone(int photo, int answer) {
  const bool ready = dup2(photo, STDIN_FILENO) >= 0 && dup2(answer, STDOUT_FILENO) >= 0;
  close(photo);
  close(answer);
  _exit(ready ? Answer(Run()) : 1);  // libvips' own end wants more than is allowed now
}

// Until whoever gives the orders is gone.
void TakeOrders() {
  for (;;) {
    const std::vector<int> order = ReceiveDescriptors(STDIN_FILENO);
    if (order.empty()) return;
    const pid_t pid = order.size() == 2 ? fork() : -1;
    if (pid == 0) DecodeAlone(order[0], order[1]);
    for (const int descriptor : order) close(descriptor);
    // Not waited for yet, so the number can't be another's.
    const int handle = pid < 0 ? -1 : static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
    if (handle < 0 || !SendDescriptors(STDIN_FILENO, {&handle, 1})) return;
    close(handle);
    while (waitpid(-1, nullptr, WNOHANG) > 0) {
    }
  }
}

}  // namespace
}  // namespace tiltshift::picture

int main() {
  // No photo goes to a file on its way through libvips, however large.
  setenv("VIPS_DISC_THRESHOLD", "16g", 1);
  tiltshift::picture::StartVips();
  tiltshift::picture::TakeOrders();
}
