#include "picture/photo_pipe.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace tiltshift::picture {
namespace {

// One packet of a byte, with room for descriptors.
struct Packet {
  char byte = 1;
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(kMostDescriptors * sizeof(int))] = {};
  msghdr head{};

  Packet() {
    head.msg_iov = &part;
    head.msg_iovlen = 1;
    head.msg_control = control;
    head.msg_controllen = sizeof(control);
  }
  Packet(const Packet&) = delete;
  Packet& operator=(const Packet&) = delete;
};

}  // namespace

bool SendDescriptors(int socket, std::span<const int> descriptors) {
  Packet packet;
  packet.head.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
  cmsghdr* rights = CMSG_FIRSTHDR(&packet.head);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(descriptors.size_bytes());
  std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size_bytes());
  return sendmsg(socket, &packet.head, MSG_NOSIGNAL) == 1;
}

std::vector<int> ReceiveDescriptors(int socket) {
  Packet packet;
  ssize_t count;
  do {
    count = recvmsg(socket, &packet.head, MSG_CMSG_CLOEXEC);
  } while (count < 0 && errno == EINTR);
  std::vector<int> descriptors;
  if (count != 1) return descriptors;
  for (cmsghdr* rights = CMSG_FIRSTHDR(&packet.head); rights != nullptr;
       rights = CMSG_NXTHDR(&packet.head, rights)) {
    if (rights->cmsg_level != SOL_SOCKET || rights->cmsg_type != SCM_RIGHTS) continue;
    descriptors.resize((rights->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    std::memcpy(descriptors.data(), CMSG_DATA(rights), descriptors.size() * sizeof(int));
  }
  return descriptors;
}

}  // namespace tiltshift::picture
