// A prompt's text before its tokens: one spelling, cut into words by Unicode class. The only user
// of ICU.
//
// Equal to the tokenizers library's CLIP normalizer and pre-tokenizer for every character that ICU
// knows (compared over all code points with ICU 72, which is Unicode 15). The library brings newer
// tables of its own, so a letter encoded since is a letter there and a symbol here. Its NFC is
// Unicode 9's: several marks newer than that on one letter, typed in another than canonical order,
// stay in that order there.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tiltshift::engine {

bool IsUtf8(std::string_view text);

// NFC; each run of white space one space; lower case, a character at a time (so capital sigma is
// always the medial one, and capital dotted I keeps its dot as U+0307). `text` must be UTF-8.
std::string NormalizePrompt(std::string_view text);

// The matches of 's|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+ in a normalized text; white
// space falls out. The markers <|startoftext|> and <|endoftext|> written out split as if they stood
// alone.
std::vector<std::string_view> SplitWords(std::string_view normalized);

}  // namespace tiltshift::engine
