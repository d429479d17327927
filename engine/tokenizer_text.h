// A prompt's text before its tokens: one spelling, cut into words by Unicode class. The only user of ICU.
//
// Equal to the tokenizers library's CLIP normalizer and pre-tokenizer for characters of Unicode 13 and older;
// its tables and ICU's are of different years, so a letter encoded since may be one's letter and the other's
// symbol.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tiltshift::engine {

bool IsUtf8(std::string_view text);

// NFC; each run of white space one space; lower case, a character at a time (so capital sigma is always the
// medial one, and capital dotted I keeps its dot as U+0307). `text` must be UTF-8.
std::string NormalizePrompt(std::string_view text);

// The matches of 's|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+ in a normalized text; white space
// falls out. The markers <|startoftext|> and <|endoftext|> written out split as if they stood alone.
std::vector<std::string_view> SplitWords(std::string_view normalized);

}  // namespace tiltshift::engine
