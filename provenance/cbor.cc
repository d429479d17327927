#include "provenance/cbor.h"

#include <algorithm>

namespace tiltshift::provenance {
namespace {

using Kind = Cbor::Kind;

constexpr int kDeepest = 32;
constexpr size_t kMostItems = 20'000;

absl::Status Bad(const std::string& why) {
  return absl::InvalidArgumentError(absl::StrCat("CBOR that can't be read: ", why));
}

void AppendBigEndian(std::string& out, uint64_t value, int bytes) {
  for (int i = bytes - 1; i >= 0; --i) out.push_back(static_cast<char>(value >> (8 * i)));
}

void AppendHead(std::string& out, int major, uint64_t value, bool four_bytes = false) {
  const auto head = [&](int more) { out.push_back(static_cast<char>(major << 5 | more)); };
  if (four_bytes || (value > 0xffff && value <= 0xffffffff)) {
    head(26);
    AppendBigEndian(out, value, 4);
  } else if (value < 24) {
    head(static_cast<int>(value));
  } else if (value <= 0xff) {
    head(24);
    AppendBigEndian(out, value, 1);
  } else if (value <= 0xffff) {
    head(25);
    AppendBigEndian(out, value, 2);
  } else {
    head(27);
    AppendBigEndian(out, value, 8);
  }
}

void Append(std::string& out, const Cbor& item) {
  const int major = static_cast<int>(item.kind);
  switch (item.kind) {
    case Kind::kUnsigned:
    case Kind::kNegative:
    case Kind::kTag:
    case Kind::kSimple:
      AppendHead(out, major, item.number, item.four_bytes);
      break;
    case Kind::kBytes:
    case Kind::kText:
      AppendHead(out, major, item.text.size());
      out += item.text;
      break;
    case Kind::kArray:
      AppendHead(out, major, item.items.size());
      break;
    case Kind::kMap:
      AppendHead(out, major, item.items.size() / 2);
      break;
  }
  for (const Cbor& inner : item.items) Append(out, inner);
}

class Reader {
 public:
  explicit Reader(std::string_view bytes) : left_(bytes) {}
  bool done() const { return left_.empty(); }

  absl::StatusOr<Cbor> Item(int depth) {
    if (depth > kDeepest) return Bad(absl::StrCat("nested deeper than ", kDeepest));
    if (++items_ > kMostItems) return Bad(absl::StrCat("more than ", kMostItems, " items"));
    Cbor item;
    TS_RETURN_IF_ERROR(Head(item));
    switch (item.kind) {
      case Kind::kBytes:
      case Kind::kText:
        if (item.number > left_.size()) return Bad("it ends in the middle of a text");
        item.text = left_.substr(0, item.number);
        left_.remove_prefix(item.number);
        break;
      case Kind::kArray:
        TS_RETURN_IF_ERROR(Inner(item, 1, depth));
        break;
      case Kind::kMap:
        TS_RETURN_IF_ERROR(Inner(item, 2, depth));
        return CheckKeys(std::move(item));
      case Kind::kTag: {
        TS_ASSIGN_OR_RETURN(Cbor tagged, Item(depth + 1));
        item.items.push_back(std::move(tagged));
        break;
      }
      default:
        break;
    }
    return item;
  }

 private:
  absl::Status Head(Cbor& item) {
    if (left_.empty()) return Bad("it ends too early");
    const auto first = static_cast<uint8_t>(left_[0]);
    left_.remove_prefix(1);
    item.kind = static_cast<Kind>(first >> 5);
    const int more = first & 31;
    item.number = static_cast<uint64_t>(more);
    if (more < 24) return absl::OkStatus();
    if (more > 27) return Bad("an item of indefinite length");
    const size_t bytes = size_t{1} << (more - 24);
    if (left_.size() < bytes) return Bad("it ends in the middle of a number");
    item.number = 0;
    for (size_t i = 0; i < bytes; ++i)
      item.number = item.number << 8 | static_cast<uint8_t>(left_[i]);
    left_.remove_prefix(bytes);
    return absl::OkStatus();
  }

  absl::Status Inner(Cbor& item, uint64_t each, int depth) {
    // Each takes a byte at least.
    if (item.number > left_.size() / each) return Bad("it ends in the middle of a list");
    for (uint64_t i = 0; i < item.number * each; ++i) {
      TS_ASSIGN_OR_RETURN(Cbor inner, Item(depth + 1));
      item.items.push_back(std::move(inner));
    }
    return absl::OkStatus();
  }

  static absl::StatusOr<Cbor> CheckKeys(Cbor map) {
    std::vector<std::string> keys;
    for (size_t i = 0; i < map.items.size(); i += 2) keys.push_back(Encode(map.items[i]));
    std::sort(keys.begin(), keys.end());
    if (std::adjacent_find(keys.begin(), keys.end()) != keys.end())
      return Bad("a map has a key twice");
    return map;
  }

  std::string_view left_;
  size_t items_ = 0;
};

template <typename Matches>
const Cbor* FindIn(const Cbor& map, Matches matches) {
  if (!map.is(Kind::kMap)) return nullptr;
  for (size_t i = 0; i + 1 < map.items.size(); i += 2)
    if (matches(map.items[i])) return &map.items[i + 1];
  return nullptr;
}

}  // namespace

Cbor Cbor::Tag(uint64_t number, Cbor item) {
  Cbor tag{.kind = Kind::kTag, .number = number};
  tag.items.push_back(std::move(item));
  return tag;
}

const Cbor* Cbor::Find(std::string_view key) const {
  return FindIn(*this, [&](const Cbor& at) { return at.is(Kind::kText) && at.text == key; });
}

const Cbor* Cbor::Find(int64_t key) const {
  return FindIn(*this, [&](const Cbor& at) {
    return key >= 0 ? at.is(Kind::kUnsigned) && at.number == static_cast<uint64_t>(key)
                    : at.is(Kind::kNegative) && at.number == static_cast<uint64_t>(-1 - key);
  });
}

std::string Cbor::TextAt(std::string_view key) const {
  const Cbor* value = Find(key);
  return value != nullptr && value->is(Kind::kText) ? value->text : "";
}

const std::vector<Cbor>& Cbor::ArrayAt(std::string_view key) const {
  static const std::vector<Cbor> kNone;
  const Cbor* value = Find(key);
  return value != nullptr && value->is(Kind::kArray) ? value->items : kNone;
}

std::string Encode(const Cbor& item) {
  std::string out;
  Append(out, item);
  return out;
}

absl::StatusOr<Cbor> Decode(std::string_view bytes) {
  Reader reader(bytes);
  TS_ASSIGN_OR_RETURN(Cbor item, reader.Item(0));
  if (!reader.done()) return Bad("something follows it");
  return item;
}

}  // namespace tiltshift::provenance
