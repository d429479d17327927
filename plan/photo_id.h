// Photos as specs and entries name them once they are uploaded.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "proto/job.pb.h"

namespace tiltshift::plan {

// The column of a contest's entries that names each one's photo.
inline constexpr char kPhotoColumn[] = "photo";

// "p" and 32 hex digits.
bool IsPhotoId(std::string_view text);

// Whether some of the job is made from photos.
bool HasPhotos(const v1::JobSpec& spec);

// The photo that one variant is made from; empty: none.
std::string PhotoOf(const v1::JobSpec& spec, const std::map<std::string, std::string>& parameters);

}  // namespace tiltshift::plan
