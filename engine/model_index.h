// model_index.json: which pipeline a model directory is for, and which parts it has.
//
// What tells the families apart stands in one table, model_index.cc's, and in the parts' own
// configs; the networks and the pipeline follow fields and know no family.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace tiltshift::engine {

// How a prompt becomes what the UNet attends to.
enum class TextRule {
  kLastHidden,         // one encoder: its last hidden state, through its final norm
  kPenultimateHidden,  // the hidden state before the last layer, as it is, of each encoder, side by
                       // side; and the last encoder's projection, "pooled", beside the time
};

struct ModelIndex {
  TextRule text = TextRule::kLastHidden;
  // Of each text encoder that is there: what its folders' names end with, "" or "_2".
  std::vector<std::string> text_suffixes;
  std::string scheduler_class;
  bool zeros_without_negative =
      false;  // no negative prompt is an embedding of zeros, not that of ""
};

// Reads it; `file` is what errors call it. Parts that are not needed to render (safety_checker,
// feature_extractor, a ControlNet, which is loaded where a job names it) are passed over.
// Unimplemented: a class that is not in the table, or a part of another class; both name it.
absl::StatusOr<ModelIndex> ParseModelIndex(std::string_view text, const std::string& file);

}  // namespace tiltshift::engine
