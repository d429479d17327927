// SHA-256 and random names, as lower-case hex.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace tiltshift {

// 64 hex characters.
std::string Sha256Hex(std::string_view bytes);

// `bytes` random bytes from the operating system, as lower-case hex: for names nobody can guess.
std::string RandomHex(size_t bytes);

// Whether they are equal, in a time that tells nothing of where they differ.
bool SameSecret(std::string_view a, std::string_view b);

// SHA-256 over pieces, for what does not fit in memory at once.
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
