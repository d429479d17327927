#include "gallery/http_message.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace tiltshift::gallery {
namespace {

constexpr size_t kMostHeaders = 64, kMostQuery = 256;
constexpr uint64_t kMostBody = 1 << 20;

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool IsToken(std::string_view text) {
  constexpr std::string_view kOthers = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](unsigned char c) {
    return absl::ascii_isalnum(c) || kOthers.find(static_cast<char>(c)) != std::string_view::npos;
  });
}

// Of a line: no control character, and nothing that is not ASCII.
bool IsPrintable(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](unsigned char c) { return (c >= 0x20 && c < 0x7f) || c == '\t'; });
}

// The line before the next "\r\n", which is taken off as well.
bool TakeLine(std::string_view& text, std::string_view& line) {
  const size_t end = text.find("\r\n");
  if (end == std::string_view::npos) return false;
  line = text.substr(0, end);
  text.remove_prefix(end + 2);
  return true;
}

bool ParseTarget(std::string_view target, HttpRequest& request) {
  if (target.empty() || target[0] != '/' || target.find('#') != std::string_view::npos)
    return false;
  const size_t mark = target.find('?');
  std::string_view path = target.substr(1, mark == std::string_view::npos ? mark : mark - 1);
  while (!path.empty()) {
    const size_t end = std::min(path.find('/'), path.size());
    if (!PercentDecode(path.substr(0, end), false, request.path.emplace_back())) return false;
    if (end == path.size()) break;
    path.remove_prefix(end + 1);
    if (path.empty()) request.path.emplace_back();  // "/a/" is not "/a"
  }
  if (mark == std::string_view::npos) return true;
  std::string_view query = target.substr(mark + 1);
  while (!query.empty()) {
    const size_t end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    const size_t equals = std::min(pair.find('='), pair.size());
    if (request.query.size() == kMostQuery) return false;
    auto& [name, value] = request.query.emplace_back();
    if (!PercentDecode(pair.substr(0, equals), true, name)) return false;
    if (equals < pair.size() && !PercentDecode(pair.substr(equals + 1), true, value)) return false;
    query.remove_prefix(std::min(end + 1, query.size()));
  }
  return true;
}

HttpHead Refuse(int status, std::string why) {
  HttpHead head;
  head.refused = status;
  head.why = std::move(why);
  return head;
}

const char* Reason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 409:
      return "Conflict";
    case 413:
      return "Content Too Large";
    case 421:
      return "Misdirected Request";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return status < 500 ? "Refused" : "Error";
  }
}

}  // namespace

std::string HttpRequest::Header(std::string_view name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

std::string HttpRequest::Query(std::string_view name) const {
  const auto found = std::find_if(query.begin(), query.end(),
                                  [&](const auto& pair) { return pair.first == name; });
  return found == query.end() ? "" : found->second;
}

bool PercentDecode(std::string_view text, bool plus_is_space, std::string& decoded) {
  decoded.clear();
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '+' && plus_is_space) c = ' ';
    if (c == '%') {
      if (i + 2 >= text.size()) return false;
      const int high = HexValue(text[i + 1]), low = HexValue(text[i + 2]);
      if (high < 0 || low < 0 || high + low == 0) return false;
      c = static_cast<char>(high * 16 + low);
      i += 2;
    }
    decoded.push_back(c);
  }
  return true;
}

HttpHead ParseHead(std::string_view text) {
  HttpHead head;
  HttpRequest& request = head.request;
  std::string_view line;
  if (!TakeLine(text, line) || !IsPrintable(line)) return Refuse(400, "no request line");
  const size_t first = line.find(' '), last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) return Refuse(400, "no request line");
  const std::string_view version = line.substr(last + 1);
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return Refuse(505, "HTTP/1.1 is spoken here");
  request.method = std::string(line.substr(0, first));
  if (!IsToken(request.method)) return Refuse(400, "no method");
  if (request.method != "GET" && request.method != "HEAD" && request.method != "POST")
    return Refuse(405, "GET, HEAD and POST are answered here");
  if (!ParseTarget(line.substr(first + 1, last - first - 1), request))
    return Refuse(400, "the address can't be read");
  while (TakeLine(text, line) && !line.empty()) {
    if (request.headers.size() == kMostHeaders) return Refuse(431, "too many header fields");
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos || !IsToken(line.substr(0, colon)))
      return Refuse(400, "a header field can't be read");
    const std::string name = absl::AsciiStrToLower(std::string(line.substr(0, colon)));
    const std::string value(absl::StripAsciiWhitespace(std::string(line.substr(colon + 1))));
    if (!IsPrintable(value)) return Refuse(400, "a header field holds what is not text");
    if (!request.headers.emplace(name, value).second)
      return Refuse(400, absl::StrCat("the header field ", name, " is there twice"));
  }
  if (version == "HTTP/1.1" && request.Header("host").empty()) return Refuse(400, "no Host");
  if (request.headers.contains("transfer-encoding"))
    return Refuse(501, "bodies come with a Content-Length");
  const std::string length = request.Header("content-length");
  if (!length.empty()) {
    const bool digits = std::all_of(length.begin(), length.end(),
                                    [](unsigned char c) { return absl::ascii_isdigit(c); });
    if (!digits || !absl::SimpleAtoi(length, &head.body_bytes))
      return Refuse(400, "the Content-Length is no number");
    if (head.body_bytes > kMostBody) return Refuse(413, "the body is too large");
  }
  if (head.body_bytes > 0 && request.method != "POST") return Refuse(400, "only POST has a body");
  const std::string connection = absl::AsciiStrToLower(request.Header("connection"));
  request.keep_alive = version == "HTTP/1.1" && connection.find("close") == std::string::npos;
  return head;
}

std::string HeadOf(const HttpResponse& response, bool keep_alive) {
  std::string head =
      absl::StrCat("HTTP/1.1 ", response.status, " ", Reason(response.status), "\r\n");
  for (const auto& [name, value] : response.headers)
    absl::StrAppend(&head, name, ": ", value, "\r\n");
  if (response.stream != nullptr) {
    absl::StrAppend(&head, "Transfer-Encoding: chunked\r\n");
  } else if (response.status != 304 && response.status != 204) {
    absl::StrAppend(&head, "Content-Length: ", response.body.size(), "\r\n");
  }
  absl::StrAppend(&head, keep_alive ? "" : "Connection: close\r\n", "\r\n");
  return head;
}

}  // namespace tiltshift::gallery
