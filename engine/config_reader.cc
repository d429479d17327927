#include "engine/config_reader.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_join.h"
#include "engine/json_text.h"

namespace tiltshift::engine {
namespace {

using nlohmann::json;

// A value as an error shows it.
std::string Shown(const json& value) {
  constexpr size_t kMost = 60;
  std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true, json::error_handler_t::replace);
  if (text.size() > kMost) text = text.substr(0, kMost) + "...";
  return text;
}

}  // namespace

absl::StatusOr<ConfigReader> ConfigReader::Parse(std::string_view text, const std::string& file) {
  TS_ASSIGN_OR_RETURN(json object, ParseJsonObject(text, file));
  return ConfigReader(std::move(object), file);
}

const json* ConfigReader::Take(const char* field) {
  read_.insert(field);
  const auto at = object_.find(field);
  return at == object_.end() ? nullptr : &*at;
}

bool ConfigReader::Has(const char* field) const {
  const auto at = object_.find(field);
  return at != object_.end() && !at->is_null();
}

bool ConfigReader::ToInt(const json& value, const std::string& field, int low, int high, int* out) {
  // A float that is whole is taken: JSON writers differ in that.
  const bool whole =
      value.is_number_integer() ||
      (value.is_number_float() && std::nearbyint(value.get<double>()) == value.get<double>());
  if (!whole) {
    Invalid(field, absl::StrCat("is ", Shown(value), ", not a whole number"));
    return false;
  }
  const double number = value.get<double>();
  if (!(number >= low && number <= high)) {
    Invalid(field, absl::StrCat("is ", Shown(value), ", outside ", low, " to ", high));
    return false;
  }
  *out = static_cast<int>(number);
  return true;
}

int ConfigReader::Int(const char* field, int missing, int low, int high) {
  const json* value = Take(field);
  if (value != nullptr) ToInt(*value, field, low, high, &missing);
  return missing;
}

double ConfigReader::Number(const char* field, double missing, double low, double high) {
  const json* value = Take(field);
  if (value == nullptr) return missing;
  if (!value->is_number()) {
    Invalid(field, absl::StrCat("is ", Shown(*value), ", not a number"));
    return missing;
  }
  const double number = value->get<double>();
  if (number >= low && number <= high) return number;
  Invalid(field, absl::StrCat("is ", Shown(*value), ", outside ", low, " to ", high));
  return missing;
}

bool ConfigReader::Bool(const char* field, bool missing) {
  const json* value = Take(field);
  if (value == nullptr) return missing;
  if (value->is_boolean()) return value->get<bool>();
  Invalid(field, absl::StrCat("is ", Shown(*value), ", not true or false"));
  return missing;
}

std::string ConfigReader::String(const char* field, const std::string& missing) {
  const json* value = Take(field);
  if (value == nullptr) return missing;
  if (value->is_string()) return value->get<std::string>();
  Invalid(field, absl::StrCat("is ", Shown(*value), ", not a string"));
  return missing;
}

std::vector<int> ConfigReader::Ints(const char* field, std::vector<int> missing, int low, int high,
                                    size_t most) {
  const json* value = Take(field);
  if (value == nullptr) return missing;
  if (!value->is_array() || value->empty() || value->size() > most) {
    Invalid(field,
            absl::StrCat("is ", Shown(*value), ", not an array of 1 to ", most, " whole numbers"));
    return missing;
  }
  std::vector<int> numbers(value->size(), low);
  for (size_t i = 0; i < numbers.size(); ++i) {
    ToInt((*value)[i], absl::StrCat(field, "[", i, "]"), low, high, &numbers[i]);
  }
  return numbers;
}

std::vector<std::string> ConfigReader::Strings(const char* field, std::vector<std::string> missing,
                                               size_t most) {
  const json* value = Take(field);
  if (value == nullptr) return missing;
  const bool strings =
      value->is_array() && !value->empty() && value->size() <= most &&
      std::all_of(value->begin(), value->end(), [](const json& v) { return v.is_string(); });
  if (strings) return value->get<std::vector<std::string>>();
  Invalid(field, absl::StrCat("is ", Shown(*value), ", not an array of 1 to ", most, " strings"));
  return missing;
}

std::vector<int> ConfigReader::IntOrInts(const char* field, int missing, int low, int high,
                                         size_t count) {
  const json* value = Take(field);
  if (value == nullptr || !value->is_array()) {
    return std::vector<int>(count, Int(field, missing, low, high));
  }
  if (value->size() == count) return Ints(field, {}, low, high, count);
  Invalid(field, absl::StrCat("has ", value->size(), " elements, one for each of the ", count,
                              " blocks is needed"));
  return std::vector<int>(count, missing);
}

void ConfigReader::Only(const char* field, const std::vector<json>& values) {
  const json* value = Take(field);
  if (value == nullptr || value->is_null() ||
      std::find(values.begin(), values.end(), *value) != values.end())
    return;
  const std::string known =
      absl::StrJoin(values, " or ", [](std::string* out, const json& v) { out->append(Shown(v)); });
  Unimplemented(field, absl::StrCat("is ", Shown(*value), "; this engine has ",
                                    values.empty() ? "no such part" : known));
}

void ConfigReader::Ignore(std::initializer_list<const char*> fields) {
  for (const char* field : fields) read_.insert(field);
}

void ConfigReader::Unimplemented(const std::string& field, const std::string& what) {
  if (status_.ok()) status_ = absl::UnimplementedError(absl::StrCat(file_, ": ", field, " ", what));
}

void ConfigReader::Invalid(const std::string& field, const std::string& what) {
  if (status_.ok())
    status_ = absl::InvalidArgumentError(absl::StrCat(file_, ": ", field, " ", what));
}

absl::Status ConfigReader::Finish() const {
  TS_RETURN_IF_ERROR(status_);
  for (const auto& [field, value] : object_.items()) {
    if (read_.contains(field) || field.starts_with('_')) continue;
    if (value.is_null() || value == json(false)) continue;
    return absl::UnimplementedError(absl::StrCat(file_, ": ", Quoted(field), " is ", Shown(value),
                                                 ", a field this engine does not know"));
  }
  return absl::OkStatus();
}

}  // namespace tiltshift::engine
