// SHA-256, as lower-case hex. Names outputs, models and requests.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace tiltshift {

// 64 hex characters.
std::string Sha256Hex(std::string_view bytes);

// The same over pieces, for what does not fit in memory at once.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void Update(std::string_view bytes);
  // Ends the stream; call once.
  std::string Hex();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tiltshift
