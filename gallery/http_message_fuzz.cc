// Any bytes as the head of a request: refused with a status and a reason, or a request whose parts
// are what the bounds allow, and that nobody could read as the head of two.
#include <cstdint>
#include <cstdlib>

#include "gallery/http_message.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tiltshift::gallery;
  const HttpHead head = ParseHead({reinterpret_cast<const char*>(data), size});
  if (head.refused != 0) {
    if (head.refused < 400 || head.refused > 599 || head.why.empty()) std::abort();
    return 0;
  }
  const HttpRequest& request = head.request;
  const bool known =
      request.method == "GET" || request.method == "HEAD" || request.method == "POST";
  if (!known || head.body_bytes > (1 << 20) || request.headers.contains("transfer-encoding"))
    std::abort();
  for (const auto& [name, value] : request.headers) {
    if (name.empty() || value.find_first_of("\r\n") != std::string::npos) std::abort();
  }
  for (const std::string& part : request.path) {
    if (part.find('\0') != std::string::npos) std::abort();
  }
  return 0;
}
