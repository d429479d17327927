// Between photo_process.cc and tiltshift-photo-decoder.
//
// The decoder's standard input is a socket (SOCK_SEQPACKET). An order is a packet with two
// descriptors: a file that holds the photo, and the pipe for what it comes to. It is answered with
// a packet that has one, a pidfd of the process that was forked for it. Into the pipe that process
// writes a PhotoAnswer, then the pixels, or the message.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace tiltshift::picture {

inline constexpr size_t kLongestAnswer = 500;  // bytes of a message

struct PhotoAnswer {
  uint32_t magic = 0x31544854;
  int32_t code = 0;  // an absl::StatusCode
  int32_t width = 0, height = 0;
  int32_t message_bytes = 0;
};

inline constexpr size_t kMostDescriptors = 2;

// False where the other side is gone.
bool SendDescriptors(int socket, std::span<const int> descriptors);
// The next packet's, the caller's to close from now on; none where the other side is gone, or does
// not answer in the socket's time.
std::vector<int> ReceiveDescriptors(int socket);

}  // namespace tiltshift::picture
