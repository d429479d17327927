// tiltshift-photo-decoder: a photo from standard input to pixels on standard output, locked down in
// between. For photo_process.cc alone, which says what goes over the pipe.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

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
  // No photo goes to a file on its way through libvips, however large.
  setenv("VIPS_DISC_THRESHOLD", "16g", 1);
  StartVips();
  TS_RETURN_IF_ERROR(LockDown({}));
  TS_ASSIGN_OR_RETURN(const std::string bytes, ReadInput());
  return DecodePhoto(bytes);
}

}  // namespace
}  // namespace tiltshift::picture

int main() {
  const int code = tiltshift::picture::Answer(tiltshift::picture::Run());
  _exit(code);  // libvips' own end wants more than is allowed now
}
