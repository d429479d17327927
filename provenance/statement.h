// What a picture says of itself, in XMP and in its content credentials: that a machine made it,
// with what, for which job, and whose it is.
#pragma once

#include <string>
#include <string_view>

namespace tiltshift::provenance {

struct Statement {
  std::string model, render_class;
  std::string job;   // its name
  std::string seed;  // in decimal
  // Empty: not told.
  std::string owner, license;
  std::string prompt, author;
};

// IPTC's word for a picture that a trained model made.
inline constexpr char kMachineMade[] =
    "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia";

inline constexpr char kOurNamespace[] = "urn:x-tiltshift:1.0/";

// A licence that is an address rather than words.
inline bool IsAddress(std::string_view license) {
  return license.starts_with("https://") || license.starts_with("http://");
}

}  // namespace tiltshift::provenance
