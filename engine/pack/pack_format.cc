#include "engine/pack/pack_format.h"

#include <cstring>
#include <set>

#include "base/hash.h"
#include "engine/json_text.h"
#include "nlohmann/json.hpp"

namespace tiltshift::engine {
namespace {

using nlohmann::json;

constexpr std::string_view kMagic = "TSWPACK\n";
constexpr size_t kHashDigits = 64;
constexpr size_t kHashedBytes = 32 + kHashDigits;  // the header's own hash stands after them
constexpr uint64_t kMostDirectoryBytes = uint64_t{16} << 20;
constexpr size_t kSamples = 16, kSampleBytes = 64;

template <typename Number>
void Append(Number number, std::string* out) {
  for (size_t i = 0; i < sizeof(number); ++i)
    out->push_back(static_cast<char>(number >> 8 * i & 0xff));
}

template <typename Number>
Number NumberAt(std::string_view bytes, size_t at) {
  Number number = 0;
  for (size_t i = sizeof(number); i-- > 0;)
    number = number << 8 | static_cast<uint8_t>(bytes[at + i]);
  return number;
}

absl::Status Refused(const std::string& file, const std::string& why) {
  return absl::DataLossError(absl::StrCat(file, ": ", why, "; it is made anew from the model"));
}

bool ReadText(const json& object, const char* name, std::string* text) {
  const auto at = object.find(name);
  if (at == object.end() || !at->is_string()) return false;
  *text = at->get<std::string>();
  return true;
}

// Empty where it is one.
std::string ReadPiece(const json& entry, PackPiece* piece) {
  const bool formed = entry.is_array() && entry.size() == 4 && entry[0].is_string() &&
                      entry[1].is_number_unsigned() && entry[2].is_number_unsigned() &&
                      entry[3].is_number_unsigned();
  if (!formed) return "a piece in its directory is not [key, offset, bytes, sample]";
  *piece = {entry[0].get<std::string>(), entry[1].get<uint64_t>(), entry[2].get<uint64_t>(),
            entry[3].get<uint64_t>()};
  return "";
}

// Empty where all of it is right.
std::string CheckPieces(std::string_view bytes, uint64_t directory_offset,
                        const std::vector<PackPiece>& pieces) {
  std::set<std::string_view> keys;
  uint64_t end = kPackHeaderBytes;
  for (const PackPiece& piece : pieces) {
    const std::string name = absl::StrCat("piece ", Quoted(piece.key));
    if (!keys.insert(piece.key).second) return name + " stands twice";
    if (piece.offset < end || piece.offset % kPackAlignment != 0 ||
        piece.offset > directory_offset || piece.bytes > directory_offset - piece.offset) {
      return absl::StrCat(name, " of ", piece.bytes, " bytes at ", piece.offset,
                          " does not lie where pieces do");
    }
    end = piece.offset + piece.bytes;
    if (PackSample(bytes.substr(piece.offset, piece.bytes)) != piece.sample)
      return name + " is not what was written";
  }
  return "";
}

}  // namespace

// FNV-1a over words of kSamples places, the first and the last bytes among them.
uint64_t PackSample(std::string_view bytes) {
  uint64_t sum = 0xcbf29ce484222325;
  const auto add = [&](uint64_t word) { sum = (sum ^ word) * 0x100000001b3; };
  add(bytes.size());
  const size_t span = std::min(bytes.size(), kSampleBytes);
  for (size_t i = 0; i < kSamples; ++i) {
    const std::string_view place = bytes.substr((bytes.size() - span) / (kSamples - 1) * i, span);
    for (size_t at = 0; at < place.size(); at += sizeof(uint64_t)) {
      uint64_t word = 0;
      std::memcpy(&word, place.data() + at, std::min(sizeof(word), place.size() - at));
      add(word);
    }
  }
  for (const char last : bytes.substr(bytes.size() - span)) add(static_cast<uint8_t>(last));
  return sum;
}

std::string EncodePackDirectory(const PackDirectory& directory) {
  json pieces = json::array();
  for (const PackPiece& piece : directory.pieces)
    pieces.push_back({piece.key, piece.offset, piece.bytes, piece.sample});
  const json object = {{"packing", directory.packing},
                       {"identity", directory.identity},
                       {"model", directory.model},
                       {"pieces", std::move(pieces)}};
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string EncodePackHeader(uint64_t directory_offset, std::string_view directory) {
  std::string header(kMagic);
  Append(kPackVersion, &header);
  Append(static_cast<uint32_t>(kPackHeaderBytes), &header);
  Append(directory_offset + directory.size(), &header);
  Append(directory_offset, &header);
  header += Sha256Hex(directory);
  header += Sha256Hex(header);
  header.resize(kPackHeaderBytes);
  return header;
}

absl::StatusOr<PackDirectory> ParsePack(std::string_view bytes, const std::string& file) {
  if (bytes.size() < kPackHeaderBytes || !bytes.starts_with(kMagic))
    return Refused(file, "no file of packed weights");
  if (NumberAt<uint32_t>(bytes, 8) != kPackVersion)
    return Refused(file, "of another version's layout");
  if (bytes.substr(kHashedBytes, kHashDigits) != Sha256Hex(bytes.substr(0, kHashedBytes))) {
    return Refused(file, "its header is damaged");
  }
  const uint64_t size = NumberAt<uint64_t>(bytes, 16),
                 directory_offset = NumberAt<uint64_t>(bytes, 24);
  if (size != bytes.size())
    return Refused(file, absl::StrCat("has ", bytes.size(), " bytes of ", size));
  if (directory_offset < kPackHeaderBytes || directory_offset > size ||
      size - directory_offset > kMostDirectoryBytes) {
    return Refused(file, "its directory does not lie within it");
  }
  const std::string_view text = bytes.substr(directory_offset);
  if (bytes.substr(32, kHashDigits) != Sha256Hex(text))
    return Refused(file, "its directory is damaged");
  TS_ASSIGN_OR_RETURN(const json object, ParseJsonObject(text, file));
  PackDirectory directory;
  const auto pieces = object.find("pieces");
  if (!ReadText(object, "packing", &directory.packing) ||
      !ReadText(object, "identity", &directory.identity) ||
      !ReadText(object, "model", &directory.model) || pieces == object.end() ||
      !pieces->is_array()) {
    return Refused(file, "its directory lacks packing, identity, model or pieces");
  }
  for (const json& entry : *pieces) {
    const std::string wrong = ReadPiece(entry, &directory.pieces.emplace_back());
    if (!wrong.empty()) return Refused(file, wrong);
  }
  const std::string wrong = CheckPieces(bytes, directory_offset, directory.pieces);
  if (!wrong.empty()) return Refused(file, wrong);
  return directory;
}

}  // namespace tiltshift::engine
