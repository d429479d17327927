// The words of a scene. A caption reads
//   a miniature COLOR MATERIAL SUBJECT on a BASE, BACKGROUND background, LIGHT, VIEW
// and each word is one of a short list, so what a picture shows is known exactly.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"

namespace tiltshift::scenes {

// In the order they are drawn at random.
enum class Attribute { kSubject, kColor, kMaterial, kBase, kBackground, kLight, kView };
inline constexpr int kAttributes = 7;

enum Subject { kPerson, kCat, kDog, kRobot, kCar, kHouse, kBottle, kRocket };
enum Material { kPlastic, kClay, kMetal, kWooden };
enum Base { kRoundWooden, kSquareStone, kRoundBlack };
enum Background { kStudio, kDesk, kSnow, kGrass, kNeonNight };
enum Light { kSoft, kWarm, kCool };
enum View { kFront, kSide, kTop };
inline constexpr int kWhiteColor = 7;  // among the words of kColor

std::string_view Name(Attribute attribute);                    // "subject", "color", ...
std::span<const std::string_view> Words(Attribute attribute);  // "person", "cat", ...

// The word's place in Words(attribute). InvalidArgument lists the words there are.
absl::StatusOr<int> FindWord(Attribute attribute, std::string_view word);

// A word for each attribute, as its place in Words().
using Attributes = std::array<int, kAttributes>;
// The same where only some are fixed.
using FixedAttributes = std::array<std::optional<int>, kAttributes>;

std::string Caption(const Attributes& attributes);

}  // namespace tiltshift::scenes
