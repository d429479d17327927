// A certificate authority of a test's own, and what it signed, as PEM files made by openssl.
#pragma once

#include <string>

namespace tiltshift::tests {

class Certificates {
 public:
  // Files below `folder`: NAME.crt and NAME.key, the authority's too.
  Certificates(const std::string& folder, const std::string& authority);
  // `names`: "DNS:localhost,IP:127.0.0.1".
  void Sign(const std::string& name, const std::string& names);
  std::string File(const std::string& name) const { return folder_ + "/" + name; }

 private:
  const std::string folder_, authority_;
};

}  // namespace tiltshift::tests
