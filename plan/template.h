// Text with {names} in it: "a miniature {color} {subject}". "{{" and "}}" stand for the braces
// themselves.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace tiltshift::plan {

class Template {
 public:
  // A literal, or the name of a field.
  struct Part {
    bool is_field = false;
    std::string text;
  };

  // `known` are the names that may stand in braces; another one is InvalidArgument that lists them,
  // after `where` (the field's path in the spec).
  static absl::StatusOr<Template> Parse(std::string_view text,
                                        const std::vector<std::string>& known,
                                        const std::string& where);

  std::string Expand(const std::function<std::string(const std::string& field)>& value) const;
  const std::vector<Part>& parts() const { return parts_; }

 private:
  std::vector<Part> parts_;
};

}  // namespace tiltshift::plan
