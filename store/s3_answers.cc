#include "store/s3_answers.h"

#include <optional>

#include "absl/strings/str_replace.h"
#include "store/percent.h"

namespace tiltshift::store {
namespace {

constexpr size_t kLongestShown = 200;

// The inside of the first <tag>...</tag> from `from` on, which moves behind it; <tag/> is empty.
std::optional<std::string_view> Element(std::string_view xml, const std::string& tag,
                                        size_t& from) {
  const std::string open = absl::StrCat("<", tag, ">"), close = absl::StrCat("</", tag, ">");
  const size_t empty = xml.find(absl::StrCat("<", tag, "/>"), from);
  const size_t begin = xml.find(open, from);
  if (empty < begin) {
    from = empty + tag.size() + 3;
    return std::string_view();
  }
  if (begin == std::string_view::npos) return std::nullopt;
  const size_t inside = begin + open.size();
  const size_t end = xml.find(close, inside);
  if (end == std::string_view::npos) return std::nullopt;
  from = end + close.size();
  return xml.substr(inside, end - inside);
}

std::string Text(std::string_view xml, const std::string& tag) {
  size_t from = 0;
  const auto inside = Element(xml, tag, from);
  if (!inside.has_value()) return "";
  return absl::StrReplaceAll(std::string(*inside), {{"&lt;", "<"},
                                                    {"&gt;", ">"},
                                                    {"&quot;", "\""},
                                                    {"&apos;", "'"},
                                                    {"&#39;", "'"},
                                                    {"&#34;", "\""},
                                                    {"&amp;", "&"}});
}

// encoding-type=url: a blank is '+' or %20.
std::optional<std::string> UrlDecoded(const std::string& text) {
  return PercentDecoded(absl::StrReplaceAll(text, {{"+", " "}}));
}

std::string Printable(std::string text) {
  if (text.size() > kLongestShown) text.resize(kLongestShown);
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  return text;
}

}  // namespace

S3Error ParseS3Error(std::string_view body) {
  if (body.find("<Error") == std::string_view::npos) return {};
  return {Printable(Text(body, "Code")), Printable(Text(body, "Message"))};
}

absl::StatusOr<S3Page> ParseS3Page(std::string_view body) {
  const auto damaged = [](const std::string& what) {
    return absl::DataLossError(absl::StrCat("the listing is damaged: ", what));
  };
  if (body.find("</ListBucketResult>") == std::string_view::npos)
    return damaged("it does not end as a listing of S3 does");
  const bool encoded = Text(body, "EncodingType") == "url";
  S3Page page;
  size_t from = 0;
  while (const auto object = Element(body, "Contents", from)) {
    const std::string text = Text(*object, "Key");
    const auto key = encoded ? UrlDecoded(text) : std::make_optional(text);
    if (!key.has_value() || key->empty()) return damaged("a key is none");
    page.keys.push_back(*key);
  }
  if (Text(body, "IsTruncated") == "true") {
    page.next = Text(body, "NextContinuationToken");
    if (page.next.empty()) return damaged("more pages are said to follow, but not how to ask");
  }
  return page;
}

}  // namespace tiltshift::store
