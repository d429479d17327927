// Certificates for tests, each fit or unfit in its own way.
#pragma once

#include <string>

namespace tiltshift::provenance {

struct TestCa {
  std::string certificate, key;  // PEM
};

struct TestSigner {
  std::string certificate, key;  // PEM
};

TestCa MakeTestCa();

struct LeafKind {
  const char* key = "ED25519";  // or P-256
  const char* key_usage = "critical,digitalSignature";
  const char* extended_key_usage = "emailProtection";
  const char* basic_constraints = "critical,CA:FALSE";
  long valid_seconds = 3600;  // from now, or until now
};
TestSigner MakeTestSigner(const TestCa& ca, const LeafKind& kind);

}  // namespace tiltshift::provenance
