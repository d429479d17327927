// What a spec may hold at most. Each error names the bound it met; docs/spec.md lists them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tiltshift::plan {

inline constexpr size_t kMostAxes = 64;
inline constexpr size_t kMostListValues = 100'000;
inline constexpr size_t kLongestValue = 1'024;  // bytes
inline constexpr size_t kLongestName = 64;      // characters of an axis' or job's name
inline constexpr size_t kLongestRange = 4'096;
inline constexpr size_t kLongestPrompt = 8'192;  // bytes of a template, and of what it expands to
inline constexpr size_t kLongestCombine = 4'096;
inline constexpr size_t kLongestOutputName = 200;  // bytes, expanded, without extension
inline constexpr size_t kLongestRights = 1'024;    // bytes of an owner or a licence
inline constexpr int kMostLoras = 16;
inline constexpr double kLargestLoraWeight = 10;  // and its negative the smallest
inline constexpr size_t kLongestAuthor = 256;     // bytes
inline constexpr size_t kMostColumns = 32;
inline constexpr uint64_t kMostEntries = 1'000'000;             // of a contest
inline constexpr size_t kMostBatches = 1'000;                   // of a contest's entries
inline constexpr size_t kLargestBatchBytes = 3'000'000;         // as a message
inline constexpr size_t kLargestEntriesFile = size_t{1} << 30;  // bytes
inline constexpr int kMostControls = 4;
inline constexpr double kLargestControlScale = 10;
inline constexpr size_t kLargestPictureBytes = 1'500'000;  // of a ControlNet's PNG
inline constexpr uint32_t kLongestPictureSide = 16'384;
inline constexpr uint64_t kMostPicturePixels = 64'000'000;  // as of photos: picture/photo.h
inline constexpr int64_t kUsualPhotoTtlSeconds = 7 * 86'400;
inline constexpr int64_t kLongestPhotoTtlSeconds = 366 * 86'400;
inline constexpr size_t kLargestSpecBytes = 16u << 20;
inline constexpr size_t kLargestJobBytes = 3'500'000;  // as a message: gRPC takes 4 MiB

inline constexpr uint32_t kSmallestSide = 64;  // pixels
inline constexpr uint32_t kLargestSide = 2'048;
inline constexpr uint32_t kMostSteps = 1'000;
inline constexpr double kLargestGuidance = 100;
inline constexpr uint32_t kMostClipSkip = 30;
inline constexpr uint64_t kMostMemoryMb = 10'000'000;
inline constexpr int32_t kHighestPriority = 100;  // and its negative the lowest

}  // namespace tiltshift::plan
