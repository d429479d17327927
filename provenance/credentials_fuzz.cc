// Any bytes as a picture, and as the credentials of one whose chunks are right: a verdict in words,
// never a crash, and never that it is what was signed.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/check.h"
#include "picture/png_chunk.h"
#include "provenance/verify.h"

namespace {

using tiltshift::provenance::Finding;
using tiltshift::provenance::Verdict;

// Signature, IHDR and IEND of a picture; nobody decodes it.
constexpr std::string_view kPicture{
    "\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\1\0\0\0\1\x08\2\0\0\0\x90\x77\x53\xde"
    "\0\0\0\0IEND\xae\x42\x60\x82",
    45};

void Look(std::string_view png) {
  const Verdict verdict = tiltshift::provenance::Verify(png, {});
  TS_CHECK(verdict.finding != Finding::kSigned);
  TS_CHECK(!verdict.why.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  Look(bytes);
  const auto with = tiltshift::picture::WithChunk(kPicture, "caBX", bytes);
  TS_CHECK(with.ok());
  Look(*with);
  return 0;
}
