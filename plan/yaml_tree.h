// A YAML or JSON text as a plain tree with line numbers, from yaml-cpp's events. Stricter than
// YAML: one document, no anchors and aliases (no bombs), no repeated keys, keys are scalars,
// bounded depth.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace tiltshift::plan {

struct YamlNode {
  enum class Kind { kNull, kScalar, kList, kMap };
  Kind kind = Kind::kNull;
  int line = 1;  // of its field's name, where it has one
  std::string scalar;
  std::vector<YamlNode> items;  // of a list
  struct Field;
  std::vector<Field> fields;  // of a map, in order
};

struct YamlNode::Field {
  std::string name;
  YamlNode value;
};

// "NAME:LINE: what" as InvalidArgument.
absl::Status YamlError(const std::string& name, int line, const std::string& what);

// `name` is what errors call the text.
absl::StatusOr<YamlNode> ParseYaml(std::string_view text, const std::string& name);

}  // namespace tiltshift::plan
