#include "engine/tokenizer_text.h"

#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/ustring.h>
#include <unicode/utf16.h>
#include <unicode/utf8.h>

#include "base/check.h"

namespace tiltshift::engine {
namespace {

constexpr UChar32 kCapitalDottedI = 0x130;
constexpr UChar32 kCombiningDot = 0x307;

enum class Class { kSpace, kLetter, kNumber, kOther };

Class ClassOf(UChar32 c) {
  if (u_isUWhiteSpace(c)) return Class::kSpace;
  const uint32_t category = U_GET_GC_MASK(c);
  if (category & U_GC_L_MASK) return Class::kLetter;
  if (category & U_GC_N_MASK) return Class::kNumber;
  return Class::kOther;
}

struct Char {
  UChar32 code;
  size_t end;  // of its bytes
};

Char CharAt(std::string_view text, size_t at) {
  UChar32 code;
  U8_NEXT(text.data(), at, text.size(), code);
  return {code, at};
}

std::u16string ToUtf16(std::string_view text) {
  std::u16string wide(text.size(), u'\0');  // never more units than bytes
  int32_t length = 0;
  UErrorCode error = U_ZERO_ERROR;
  u_strFromUTF8(wide.data(), static_cast<int32_t>(wide.size()), &length, text.data(),
                static_cast<int32_t>(text.size()), &error);
  TS_CHECK(U_SUCCESS(error));
  wide.resize(length);
  return wide;
}

std::u16string Nfc(const std::u16string& text) {
  UErrorCode error = U_ZERO_ERROR;
  const UNormalizer2* nfc = unorm2_getNFCInstance(&error);
  TS_CHECK(U_SUCCESS(error));
  const auto length = static_cast<int32_t>(text.size());
  const int32_t needed = unorm2_normalize(nfc, text.data(), length, nullptr, 0, &error);
  error = U_ZERO_ERROR;
  std::u16string composed(needed, u'\0');
  unorm2_normalize(nfc, text.data(), length, composed.data(), needed, &error);
  TS_CHECK(U_SUCCESS(error));
  return composed;
}

void Append(std::string& text, UChar32 c) {
  char bytes[U8_MAX_LENGTH];
  int32_t length = 0;
  U8_APPEND_UNSAFE(bytes, length, c);
  text.append(bytes, length);
}

// The end of the contraction, the marker, or the run of one class that begins at `at`.
size_t WordEnd(std::string_view text, size_t at) {
  for (std::string_view whole : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}) {
    if (text.substr(at).starts_with(whole)) return at + whole.size();
  }
  Char c = CharAt(text, at);
  const Class run = ClassOf(c.code);
  while (run != Class::kNumber && c.end < text.size()) {
    const Char next = CharAt(text, c.end);
    if (ClassOf(next.code) != run) break;
    c = next;
  }
  return c.end;
}

// A marker's length where one begins.
size_t MarkerAt(std::string_view text) {
  for (std::string_view marker : {"<|startoftext|>", "<|endoftext|>"}) {
    if (text.starts_with(marker)) return marker.size();
  }
  return 0;
}

}  // namespace

bool IsUtf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const Char c = CharAt(text, at);
    if (c.code < 0) return false;
    at = c.end;
  }
  return true;
}

std::string NormalizePrompt(std::string_view text) {
  const std::u16string composed = Nfc(ToUtf16(text));
  std::string normalized;
  bool after_space = false;
  for (size_t at = 0; at < composed.size();) {
    UChar32 c;
    U16_NEXT(composed.data(), at, composed.size(), c);
    const bool space = u_isUWhiteSpace(c);
    if (space && !after_space) normalized += ' ';
    after_space = space;
    if (space) continue;
    if (c == kCapitalDottedI) {
      normalized += 'i';
      c = kCombiningDot;
    }
    Append(normalized, u_tolower(c));
  }
  return normalized;
}

std::vector<std::string_view> SplitWords(std::string_view text) {
  std::vector<std::string_view> words;
  for (size_t at = 0; at < text.size();) {
    if (const size_t marker = MarkerAt(text.substr(at)); marker != 0) {
      words.push_back(text.substr(at, 2));
      words.push_back(text.substr(at + 2, marker - 4));
      words.push_back(text.substr(at + marker - 2, 2));
      at += marker;
      continue;
    }
    const size_t end = WordEnd(text, at);
    if (ClassOf(CharAt(text, at).code) != Class::kSpace) words.push_back(text.substr(at, end - at));
    at = end;
  }
  return words;
}

}  // namespace tiltshift::engine
