#include "plan/photo_id.h"

#include <algorithm>

namespace tiltshift::plan {

bool IsPhotoId(std::string_view text) {
  return text.size() == 33 && text[0] == 'p' &&
         text.find_first_not_of("0123456789abcdef", 1) == std::string_view::npos;
}

bool HasPhotos(const v1::JobSpec& spec) {
  const auto& columns = spec.contest().columns();
  return !spec.photo().empty() || std::any_of(columns.begin(), columns.end(), [](const auto& c) {
    return c.name() == kPhotoColumn;
  });
}

std::string PhotoOf(const v1::JobSpec& spec, const std::map<std::string, std::string>& parameters) {
  if (!spec.has_contest()) return spec.photo();
  const auto found = parameters.find(kPhotoColumn);
  return found == parameters.end() || !HasPhotos(spec) ? "" : found->second;
}

}  // namespace tiltshift::plan
