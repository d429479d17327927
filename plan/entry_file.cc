#include "plan/entry_file.h"

#include <csv.h>

#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "plan/limits.h"

namespace tiltshift::plan {
namespace {

absl::Status Bad(const std::string& name, int line, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(name, ":", line, ": ", what));
}

// One line of `text` from `start` on, without its end; `start` goes to the next.
std::string_view TakeLine(std::string_view text, size_t& start) {
  const size_t end = std::min(text.find('\n', start), text.size());
  std::string_view line = text.substr(start, end - start);
  start = end + 1;
  return line;
}

class CsvReader {
 public:
  CsvReader(std::string_view text, std::string name) : text_(text), name_(std::move(name)) {}
  ~CsvReader() { csv_free(&parser_); }
  CsvReader(const CsvReader&) = delete;
  CsvReader& operator=(const CsvReader&) = delete;

  absl::StatusOr<EntryFile> Read() {
    if (csv_init(&parser_, CSV_STRICT | CSV_STRICT_FINI) != 0)
      return absl::ResourceExhaustedError("out of memory");
    size_t start = 0;
    csv_set_delim(&parser_, DelimiterOf(TakeLine(text_, start)));
    // A line at a time, so that each row knows where it begins.
    for (start = 0; start < text_.size();) {
      const size_t begin = start;
      ++line_;
      TakeLine(text_, start);
      const std::string_view line = text_.substr(begin, std::min(start, text_.size()) - begin);
      if (cells_.empty() && !in_quotes()) row_line_ = line_;
      if (csv_parse(&parser_, line.data(), line.size(), OnCell, OnRow, this) != line.size())
        return BadQuotes();
    }
    if (csv_fini(&parser_, OnCell, OnRow, this) != 0) return BadQuotes();
    return std::move(file_);
  }

 private:
  static unsigned char DelimiterOf(std::string_view head) {
    const auto count = [&](char c) { return std::count(head.begin(), head.end(), c); };
    const auto most = std::max({count(','), count(';'), count('\t')});
    return count(',') == most ? CSV_COMMA : count(';') == most ? ';' : CSV_TAB;
  }

  absl::Status BadQuotes() const {
    return Bad(name_, row_line_,
               "the quotes of this row do not pair: a value with quotes, line ends or delimiters "
               "in it stands in "
               "quotes, and its own quotes are doubled");
  }

  bool in_quotes() const { return parser_.quoted != 0; }

  static void OnCell(void* text, size_t bytes, void* reader) {
    static_cast<CsvReader*>(reader)->cells_.emplace_back(static_cast<const char*>(text), bytes);
  }
  static void OnRow(int, void* reader) { static_cast<CsvReader*>(reader)->EndRow(); }

  void EndRow() {
    const std::vector<std::string> cells = std::exchange(cells_, {});
    const int line = row_line_;
    v1::Entries& table = file_.table;
    if (table.columns().empty()) {
      table.mutable_columns()->Add(cells.begin(), cells.end());
    } else if (cells.size() != static_cast<size_t>(table.columns_size())) {
      file_.bad.push_back({line, absl::StrCat("has ", cells.size(), " values; the head line has ",
                                              table.columns_size())});
    } else {
      table.add_entries()->mutable_values()->Add(cells.begin(), cells.end());
      file_.lines.push_back(line);
    }
  }

  const std::string_view text_;
  const std::string name_;
  csv_parser parser_{};
  EntryFile file_;
  std::vector<std::string> cells_;
  int line_ = 0, row_line_ = 1;
};

using Json = nlohmann::json;

// A value's text, as a template shows it; null where it is none.
std::unique_ptr<std::string> TextOf(const Json& value) {
  if (value.is_string()) return std::make_unique<std::string>(value.get<std::string>());
  if (value.is_number() || value.is_boolean()) return std::make_unique<std::string>(value.dump());
  if (value.is_null()) return std::make_unique<std::string>();
  return nullptr;
}

// Why the line is no row, or an empty text; its fields go to `row`, new ones to `columns` as well.
std::string ReadObject(std::string_view line, std::vector<std::string>& columns,
                       std::map<std::string, std::string>& row) {
  bool twice = false;
  std::set<std::string> keys;
  const auto on_event = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::key && depth == 1)
      twice = !keys.insert(parsed.get<std::string>()).second || twice;
    return true;
  };
  const Json object = Json::parse(line, on_event, /*allow_exceptions=*/false);
  if (object.is_discarded() || !object.is_object()) return "is no JSON object of one line";
  if (twice) return "has a field twice";
  for (const auto& [key, value] : object.items()) {
    auto text = TextOf(value);
    if (text == nullptr) return absl::StrCat("field ", key, ": is neither a text nor a number");
    if (std::find(columns.begin(), columns.end(), key) == columns.end()) {
      if (columns.size() == kMostColumns)
        return absl::StrCat("field ", key, ": there are ", kMostColumns, " already");
      columns.push_back(key);
    }
    row[key] = *std::move(text);
  }
  return "";
}

absl::StatusOr<EntryFile> ReadJsonLines(std::string_view text) {
  EntryFile file;
  std::vector<std::string> columns;
  std::vector<std::map<std::string, std::string>> rows;
  int number = 0;
  for (size_t start = 0; start < text.size();) {
    const std::string_view line = TakeLine(text, start);
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    std::map<std::string, std::string> row;
    std::string why = ReadObject(line, columns, row);
    if (!why.empty()) {
      file.bad.push_back({number, std::move(why)});
      continue;
    }
    rows.push_back(std::move(row));
    file.lines.push_back(number);
  }
  file.table.mutable_columns()->Add(columns.begin(), columns.end());
  for (auto& row : rows) {
    v1::Entry& entry = *file.table.add_entries();
    for (const std::string& column : columns) entry.add_values(std::move(row[column]));
  }
  return file;
}

}  // namespace

absl::StatusOr<EntryFile> ParseEntryFile(std::string_view text, const std::string& name) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  TS_ASSIGN_OR_RETURN(EntryFile file,
                      text.starts_with('{') ? ReadJsonLines(text) : CsvReader(text, name).Read());
  if (file.table.entries().empty() && file.bad.empty())
    return Bad(name, 1,
               "holds no entries: a head line with the columns' names, then a row an entry");
  return file;
}

std::string CsvLine(const std::vector<std::string>& values) {
  std::string line;
  for (const std::string& value : values) {
    const bool formula =
        !value.empty() && std::string_view("=+-@\t\r").find(value[0]) != std::string_view::npos;
    const std::string shown = formula ? "'" + value : value;
    std::string quoted(2 * shown.size() + 2, '\0');
    quoted.resize(csv_write(quoted.data(), quoted.size(), shown.data(), shown.size()));
    const bool plain = shown.find_first_of("\",\r\n") == std::string::npos;
    absl::StrAppend(&line, line.empty() ? "" : ",", plain ? shown : quoted);
  }
  return line + "\n";
}

}  // namespace tiltshift::plan
