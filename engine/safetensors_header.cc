#include "engine/safetensors_header.h"

#include <limits>
#include <utility>

#include "engine/json_text.h"
#include "nlohmann/json.hpp"

namespace tiltshift::engine {
namespace {

using nlohmann::json;

constexpr size_t kMaxTensors = 1 << 17;
constexpr size_t kMaxNameBytes = 1024;
constexpr size_t kMaxRank = 16;
constexpr unsigned kAllKeys = 7;

// Follows the one shape that a header may have and stops at the first step off it, so that nothing
// is built but the entries themselves.
class HeaderReader : public nlohmann::json_sax<json> {
 public:
  const std::string& error() const { return error_; }
  std::vector<SafetensorsEntry>& entries() { return entries_; }

  bool null() override { return Unexpected("null"); }
  bool boolean(bool) override { return Unexpected("a boolean"); }
  bool number_integer(number_integer_t) override { return Unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t&) override {
    return Unexpected("a number that is no 64-bit integer");
  }
  bool binary(binary_t&) override { return Unexpected("binary"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::kShape) {
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
        return Fail("a dimension too large");
      if (entry().shape.size() == kMaxRank)
        return Fail(absl::StrCat("more than ", kMaxRank, " dimensions"));
      entry().shape.push_back(static_cast<int64_t>(value));
      return true;
    }
    if (place_ == Place::kOffsets) {
      if (offsets_read_ == 2) return Fail("data_offsets has more than two numbers");
      entry().offsets[offsets_read_++] = value;
      return true;
    }
    return Unexpected("a number");
  }

  bool string(string_t& value) override {
    if (place_ == Place::kMetadata) return true;
    if (place_ != Place::kDtype) return Unexpected("a string");
    place_ = Place::kTensor;
    const auto dtype = DtypeFromName(value);
    if (!dtype) return Fail(absl::StrCat("unknown dtype ", Quoted(value)));
    entry().dtype = *dtype;
    return true;
  }

  bool start_object(size_t) override {
    switch (place_) {
      case Place::kStart:
        place_ = Place::kTop;
        return true;
      case Place::kTensorStart:
        place_ = Place::kTensor;
        return true;
      case Place::kMetadataStart:
        place_ = Place::kMetadata;
        return true;
      default:
        return Unexpected("an object");
    }
  }

  bool end_object() override {
    if (place_ == Place::kTensor && seen_ != kAllKeys) {
      return Fail("needs dtype, shape and data_offsets");
    }
    place_ = Place::kTop;
    return true;
  }

  bool start_array(size_t) override {
    if (place_ == Place::kShapeStart) {
      place_ = Place::kShape;
    } else if (place_ == Place::kOffsetsStart) {
      place_ = Place::kOffsets;
    } else {
      return Unexpected("an array");
    }
    return true;
  }

  bool end_array() override {
    if (place_ == Place::kOffsets && offsets_read_ != 2)
      return Fail("data_offsets needs two numbers");
    place_ = Place::kTensor;
    return true;
  }

  bool key(string_t& value) override {
    if (place_ == Place::kTop) return TopKey(value);
    if (place_ == Place::kTensor) return TensorKey(value);
    return true;  // of the metadata
  }

  bool parse_error(size_t, const std::string&, const json::exception& error) override {
    return Fail(absl::StrCat("the header is not valid JSON: ", JsonReason(error.what())));
  }

 private:
  enum class Place {
    kStart,
    kTop,
    kMetadataStart,
    kMetadata,
    kTensorStart,
    kTensor,
    kDtype,
    kShapeStart,
    kShape,
    kOffsetsStart,
    kOffsets
  };

  SafetensorsEntry& entry() { return entries_.back(); }

  bool TopKey(const std::string& name) {
    if (name == "__metadata__") {
      if (std::exchange(metadata_seen_, true)) return Fail("__metadata__ stands twice");
      place_ = Place::kMetadataStart;
      return true;
    }
    if (name.empty() || name.size() > kMaxNameBytes) {
      return Fail(absl::StrCat("a tensor name of ", name.size(), " bytes; 1 to ", kMaxNameBytes,
                               " are allowed"));
    }
    if (entries_.size() == kMaxTensors)
      return Fail(absl::StrCat("more than ", kMaxTensors, " tensors"));
    entries_.push_back({.name = name});
    place_ = Place::kTensorStart;
    seen_ = 0;
    offsets_read_ = 0;
    return true;
  }

  bool TensorKey(const std::string& key) {
    const unsigned bit = key == "dtype" ? 1 : key == "shape" ? 2 : key == "data_offsets" ? 4 : 0;
    if (bit == 0 || (seen_ & bit) != 0) {
      return Fail(absl::StrCat("the key ", Quoted(key), " is unknown or stands twice"));
    }
    seen_ |= bit;
    place_ = bit == 1 ? Place::kDtype : bit == 2 ? Place::kShapeStart : Place::kOffsetsStart;
    return true;
  }

  bool Unexpected(const char* what) {
    return Fail(absl::StrCat(what, " where the format has none"));
  }

  bool Fail(const std::string& what) {
    const bool in_tensor = place_ != Place::kStart && place_ != Place::kTop &&
                           place_ != Place::kMetadata && place_ != Place::kMetadataStart &&
                           !entries_.empty();
    if (error_.empty())
      error_ = in_tensor ? absl::StrCat("tensor ", Quoted(entry().name), ": ", what) : what;
    return false;
  }

  Place place_ = Place::kStart;
  bool metadata_seen_ = false;
  unsigned seen_ = 0;  // of the tensor's keys: dtype 1, shape 2, data_offsets 4
  int offsets_read_ = 0;
  std::vector<SafetensorsEntry> entries_;
  std::string error_;
};

}  // namespace

absl::StatusOr<std::vector<SafetensorsEntry>> ReadSafetensorsHeader(std::string_view header) {
  // The parser would skip a byte order mark and white space before the brace; the format has
  // neither.
  if (!header.starts_with('{')) return absl::DataLossError("the header does not begin with {");
  HeaderReader reader;
  if (!json::sax_parse(header.begin(), header.end(), &reader))
    return absl::DataLossError(reader.error());
  return std::move(reader.entries());
}

}  // namespace tiltshift::engine
