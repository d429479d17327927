// CBOR (RFC 8949), as much of it as content credentials are made of: a tree of items, to bytes and
// back. What is written is deterministic: lengths as short as they can be, maps in the order given.
// What is read may be anybody's bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace tiltshift::provenance {

struct Cbor {
  enum class Kind { kUnsigned, kNegative, kBytes, kText, kArray, kMap, kTag, kSimple };
  Kind kind = Kind::kSimple;
  uint64_t number = 22;  // the value; -1 - value of a negative; a tag's or a simple value's number
  std::string text;      // of bytes and text
  std::vector<Cbor> items;  // of an array; key, value, key, value, ... of a map; what is tagged
  bool four_bytes = false;  // written: an unsigned takes four bytes, whatever its value

  static Cbor Unsigned(uint64_t value) { return {.kind = Kind::kUnsigned, .number = value}; }
  static Cbor Negative(int64_t value) {  // below 0
    return {.kind = Kind::kNegative, .number = static_cast<uint64_t>(-1 - value)};
  }
  static Cbor Bytes(std::string bytes) { return {.kind = Kind::kBytes, .text = std::move(bytes)}; }
  static Cbor Text(std::string text) { return {.kind = Kind::kText, .text = std::move(text)}; }
  static Cbor Array(std::vector<Cbor> items) {
    return {.kind = Kind::kArray, .items = std::move(items)};
  }
  static Cbor Map(std::vector<Cbor> keys_and_values) {
    return {.kind = Kind::kMap, .items = std::move(keys_and_values)};
  }
  static Cbor Tag(uint64_t number, Cbor item);
  static Cbor Null() { return {}; }

  bool is(Kind of) const { return kind == of; }
  bool is_null() const { return kind == Kind::kSimple && number == 22; }

  // The value of a map's key, a text or a whole number; null where this is no map or has no such
  // key. Decode() takes no map with a key twice.
  const Cbor* Find(std::string_view key) const;
  const Cbor* Find(int64_t key) const;
  // The text under a key; empty where there is none.
  std::string TextAt(std::string_view key) const;
  // The items of the array under a key; none where there is none.
  const std::vector<Cbor>& ArrayAt(std::string_view key) const;
};

std::string Encode(const Cbor& item);

// One item, all of `bytes`. InvalidArgument: not well formed, of indefinite length, nested deeper
// than 32, of more than 20,000 items, or a map with a key twice.
absl::StatusOr<Cbor> Decode(std::string_view bytes);

}  // namespace tiltshift::provenance
