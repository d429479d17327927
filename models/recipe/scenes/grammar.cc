#include "models/recipe/scenes/grammar.h"

namespace tiltshift::scenes {
namespace {

constexpr std::string_view kNames[] = {"subject",    "color", "material", "base",
                                       "background", "light", "view"};
constexpr std::string_view kSubjects[] = {"person", "cat",   "dog",    "robot",
                                          "car",    "house", "bottle", "rocket"};
constexpr std::string_view kColors[] = {"red",    "orange", "yellow", "green", "blue",
                                        "purple", "pink",   "white",  "black"};
constexpr std::string_view kMaterials[] = {"plastic", "clay", "metal", "wooden"};
constexpr std::string_view kBases[] = {"round wooden base", "square stone base",
                                       "round black base"};
constexpr std::string_view kBackgrounds[] = {"studio", "desk", "snow", "grass", "neon night"};
constexpr std::string_view kLights[] = {"soft light", "warm light", "cool light"};
constexpr std::string_view kViews[] = {"front view", "side view", "top view"};

std::string_view Word(const Attributes& attributes, Attribute attribute) {
  return Words(attribute)[attributes[static_cast<int>(attribute)]];
}

}  // namespace

std::string_view Name(Attribute attribute) { return kNames[static_cast<int>(attribute)]; }

std::span<const std::string_view> Words(Attribute attribute) {
  switch (attribute) {
    case Attribute::kSubject:
      return kSubjects;
    case Attribute::kColor:
      return kColors;
    case Attribute::kMaterial:
      return kMaterials;
    case Attribute::kBase:
      return kBases;
    case Attribute::kBackground:
      return kBackgrounds;
    case Attribute::kLight:
      return kLights;
    case Attribute::kView:
      return kViews;
  }
  return {};
}

absl::StatusOr<int> FindWord(Attribute attribute, std::string_view word) {
  const auto words = Words(attribute);
  std::string known;
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i] == word) return static_cast<int>(i);
    known += (i ? ", \"" : "\"") + std::string(words[i]) + '"';
  }
  return absl::InvalidArgumentError("no " + std::string(Name(attribute)) + " is called \"" +
                                    std::string(word) + "\": use one of " + known);
}

std::string Caption(const Attributes& attributes) {
  std::string caption = "a miniature ";
  for (const Attribute a : {Attribute::kColor, Attribute::kMaterial, Attribute::kSubject}) {
    caption += std::string(Word(attributes, a)) + ' ';
  }
  caption += "on a " + std::string(Word(attributes, Attribute::kBase));
  caption += ", " + std::string(Word(attributes, Attribute::kBackground)) + " background";
  caption += ", " + std::string(Word(attributes, Attribute::kLight));
  caption += ", " + std::string(Word(attributes, Attribute::kView));
  return caption;
}

}  // namespace tiltshift::scenes
