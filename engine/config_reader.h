// A config's fields, each read once and checked: what nobody read, and is not plainly harmless, is
// an error.
//
// So a model that needs something the engine does not have is refused by name instead of rendered
// wrongly.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "nlohmann/json.hpp"

namespace tiltshift::engine {

// Collects the first error and gives defaults after it: read every field, then ask Finish().
class ConfigReader {
 public:
  static absl::StatusOr<ConfigReader> Parse(std::string_view json, const std::string& file);

  // The field, or the default where it is missing. InvalidArgument: another type (null is one), or
  // a number outside [low, high].
  int Int(const char* field, int missing, int low, int high);
  double Number(const char* field, double missing, double low, double high);
  bool Bool(const char* field, bool missing);
  std::string String(const char* field, const std::string& missing);
  // As long as the array is, at most `most`; `missing` as its default.
  std::vector<int> Ints(const char* field, std::vector<int> missing, int low, int high,
                        size_t most);
  std::vector<std::string> Strings(const char* field, std::vector<std::string> missing,
                                   size_t most);
  // A number, or an array of `count`: one value an element.
  std::vector<int> IntOrInts(const char* field, int missing, int low, int high, size_t count);
  // Whether the field is there and not null.
  bool Has(const char* field) const;

  // Unimplemented, unless the field is missing, null or one of `values`.
  void Only(const char* field, const std::vector<nlohmann::json>& values);
  // A field that says nothing about what the decoder or encoder computes.
  void Ignore(std::initializer_list<const char*> fields);

  // Errors of the caller's own, about `field`; the first one stays.
  void Unimplemented(const std::string& field, const std::string& what);
  void Invalid(const std::string& field, const std::string& what);

  const std::string& file() const { return file_; }
  absl::Status status() const { return status_; }
  // The first error; without one, Unimplemented for a field that was never read and is not null,
  // false, or private (its name begins with "_").
  absl::Status Finish() const;

 private:
  ConfigReader(nlohmann::json object, std::string file)
      : object_(std::move(object)), file_(std::move(file)) {}
  // Null where the field is missing; marks it as read.
  const nlohmann::json* Take(const char* field);
  bool ToInt(const nlohmann::json& value, const std::string& field, int low, int high, int* out);

  nlohmann::json object_;
  std::string file_;
  std::set<std::string> read_;
  absl::Status status_;
};

}  // namespace tiltshift::engine
