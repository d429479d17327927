// What a picture says of itself, in XMP and in its content credentials: that a machine made it,
// with what, for which job, and whose it is.
#pragma once

#include <string>
#include <string_view>

namespace tiltshift::provenance {

struct Statement {
  bool from_photo = false;  // the model changed a person's, or began from it
  std::string model, render_class;
  std::string job;   // its name
  std::string seed;  // in decimal
  // Empty: not told.
  std::string owner, license;
  std::string prompt, author;
};

// IPTC's words (NewsCodes, digital source type) for a picture that a trained model made of nothing
// but words, and for one that it made of a photo: by editing, inpainting or from it as a beginning.
inline constexpr char kMachineMade[] =
    "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia";
inline constexpr char kMadeFromPhoto[] =
    "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia";

inline const char* SourceTypeOf(const Statement& statement) {
  return statement.from_photo ? kMadeFromPhoto : kMachineMade;
}

inline constexpr char kOurNamespace[] = "urn:x-tiltshift:1.0/";

// A licence that is an address rather than words.
inline bool IsAddress(std::string_view license) {
  return license.starts_with("https://") || license.starts_with("http://");
}

}  // namespace tiltshift::provenance
