// Photos as specs and entries name them once they are uploaded.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "proto/job.pb.h"

namespace tiltshift::plan {

// The columns of a contest's entries that name each one's photo, and the mask of it.
inline constexpr char kPhotoColumn[] = "photo", kMaskColumn[] = "mask";

// Whether a column's values are uploaded: photos, or masks, which are kept as photos are.
bool IsPhotoColumn(std::string_view column);

// "p" and 32 hex digits.
bool IsPhotoId(std::string_view text);

// Whether some of the job is made from photos.
bool HasPhotos(const v1::JobSpec& spec);

// Whether some of its photos have masks.
bool HasMasks(const v1::JobSpec& spec);

// The photo that one variant is made from, and its mask; empty: none.
std::string PhotoOf(const v1::JobSpec& spec, const std::map<std::string, std::string>& parameters);
std::string MaskOf(const v1::JobSpec& spec, const std::map<std::string, std::string>& parameters);

}  // namespace tiltshift::plan
