#include "provenance/jumbf.h"

#include <cstdint>

namespace tiltshift::provenance {
namespace {

constexpr int kDeepest = 8;
constexpr int kMostBoxes = 1'000;
constexpr size_t kHead = 8;  // length and type
// After the four characters of a C2PA or CBOR, JSON type.
constexpr std::string_view kUuidEnd{"\x00\x11\x00\x10\x80\x00\x00\xaa\x00\x38\x9b\x71", 12};
// The toggles of a description box, which say what is in it.
constexpr char kRequestable = 1, kLabelled = 2, kHasId = 4, kHasHash = 8, kHasPrivate = 16;
constexpr size_t kIdBytes = 4, kHashBytes = 32;

absl::Status Bad(const std::string& why) {
  return absl::InvalidArgumentError(absl::StrCat("JUMBF that can't be read: ", why));
}

// Takes the next box off `left`.
absl::StatusOr<ReadBox::Content> TakeBox(std::string_view& left) {
  if (left.size() < kHead) return Bad("it ends in the middle of a box");
  size_t length = 0;
  for (size_t i = 0; i < 4; ++i) length = length << 8 | static_cast<uint8_t>(left[i]);
  if (length < kHead || length > left.size())
    return Bad(absl::StrCat("a box of ", length, " bytes where ", left.size(), " are left"));
  const ReadBox::Content box{left.substr(4, 4), left.substr(kHead, length - kHead)};
  left.remove_prefix(length);
  return box;
}

absl::Status ReadDescription(std::string_view payload, ReadBox& box) {
  constexpr size_t kUuid = 16;
  if (payload.size() < kUuid + 1) return Bad("a description box that is too short");
  if (payload.substr(4, kUuid - 4) == kUuidEnd) box.kind = payload.substr(0, 4);
  const char toggles = payload[kUuid];
  if ((toggles & (kRequestable | kLabelled)) != (kRequestable | kLabelled) || toggles >= 32 ||
      toggles < 0)
    return Bad("a box without a label");
  std::string_view rest = payload.substr(kUuid + 1);
  const size_t end = rest.find('\0');
  if (end == std::string_view::npos || end == 0) return Bad("a label that does not end");
  box.label = rest.substr(0, end);
  rest.remove_prefix(end + 1);
  const size_t fixed =
      ((toggles & kHasId) != 0 ? kIdBytes : 0) + ((toggles & kHasHash) != 0 ? kHashBytes : 0);
  if (rest.size() < fixed) return Bad("a description box that is too short");
  rest.remove_prefix(fixed);
  if ((toggles & kHasPrivate) != 0) TS_RETURN_IF_ERROR(TakeBox(rest).status());
  return rest.empty() ? absl::OkStatus() : Bad("a description box that is too long");
}

absl::StatusOr<ReadBox> Read(std::string_view payload, int depth, int& boxes) {
  if (depth > kDeepest) return Bad(absl::StrCat("nested deeper than ", kDeepest));
  ReadBox box;
  box.hashed = payload;
  TS_ASSIGN_OR_RETURN(const ReadBox::Content description, TakeBox(payload));
  if (description.type != "jumd") return Bad("a superbox that does not describe itself");
  TS_RETURN_IF_ERROR(ReadDescription(description.payload, box));
  while (!payload.empty()) {
    if (++boxes > kMostBoxes) return Bad(absl::StrCat("more than ", kMostBoxes, " boxes"));
    TS_ASSIGN_OR_RETURN(const ReadBox::Content content, TakeBox(payload));
    if (content.type != "jumb") {
      box.contents.push_back(content);
      continue;
    }
    TS_ASSIGN_OR_RETURN(ReadBox inner, Read(content.payload, depth + 1, boxes));
    if (box.Find(inner.label) != nullptr)
      return Bad(absl::StrCat("two boxes are called ", std::string(inner.label)));
    box.boxes.push_back(std::move(inner));
  }
  return box;
}

}  // namespace

std::string Box(std::string_view type, std::string_view payload) {
  const size_t length = kHead + payload.size();
  std::string box;
  box.reserve(length);
  for (const int shift : {24, 16, 8, 0}) box.push_back(static_cast<char>(length >> shift));
  return box.append(type).append(payload);
}

std::string Superbox(std::string_view kind, std::string_view label, std::string_view contents) {
  std::string description = std::string(kind).append(kUuidEnd);
  description.push_back(kRequestable | kLabelled);
  description.append(label).push_back('\0');
  return Box("jumb", Box("jumd", description).append(contents));
}

const ReadBox* ReadBox::Find(std::string_view wanted) const {
  for (const ReadBox& box : boxes)
    if (box.label == wanted) return &box;
  return nullptr;
}

std::string_view ReadBox::Only(std::string_view type) const {
  return boxes.empty() && contents.size() == 1 && contents[0].type == type ? contents[0].payload
                                                                           : std::string_view();
}

absl::StatusOr<ReadBox> ReadSuperbox(std::string_view bytes) {
  TS_ASSIGN_OR_RETURN(const ReadBox::Content outer, TakeBox(bytes));
  if (outer.type != "jumb") return Bad("it does not begin with a superbox");
  if (!bytes.empty()) return Bad("something follows it");
  int boxes = 0;
  return Read(outer.payload, 0, boxes);
}

}  // namespace tiltshift::provenance
