#include "plan/photo_id.h"

#include <algorithm>

namespace tiltshift::plan {
namespace {

using Parameters = std::map<std::string, std::string>;

bool HasColumn(const v1::JobSpec& spec, std::string_view column) {
  const auto& columns = spec.contest().columns();
  return std::any_of(columns.begin(), columns.end(),
                     [&](const v1::EntryColumn& known) { return known.name() == column; });
}

// An axis may be called so too.
std::string InColumn(const v1::JobSpec& spec, const char* column, const Parameters& parameters) {
  const auto found = parameters.find(column);
  return found == parameters.end() || !HasColumn(spec, column) ? "" : found->second;
}

}  // namespace

bool IsPhotoId(std::string_view text) {
  return text.size() == 33 && text[0] == 'p' &&
         text.find_first_not_of("0123456789abcdef", 1) == std::string_view::npos;
}

bool IsPhotoColumn(std::string_view column) {
  return column == kPhotoColumn || column == kMaskColumn;
}

bool HasPhotos(const v1::JobSpec& spec) {
  return !spec.photo().empty() || HasColumn(spec, kPhotoColumn);
}

bool HasMasks(const v1::JobSpec& spec) {
  return !spec.mask().empty() || HasColumn(spec, kMaskColumn);
}

std::string PhotoOf(const v1::JobSpec& spec, const Parameters& parameters) {
  return spec.has_contest() ? InColumn(spec, kPhotoColumn, parameters) : spec.photo();
}

std::string MaskOf(const v1::JobSpec& spec, const Parameters& parameters) {
  return spec.has_contest() ? InColumn(spec, kMaskColumn, parameters) : spec.mask();
}

}  // namespace tiltshift::plan
