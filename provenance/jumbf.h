// JUMBF (ISO 19566-5): the boxes that content credentials are kept in. A superbox has a kind, a
// label, and content boxes, some of which are superboxes. What is read may be anybody's bytes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace tiltshift::provenance {

// A box: length, type (four characters), payload.
std::string Box(std::string_view type, std::string_view payload);

// A superbox with its description. `kind`: the four characters that the UUID of its type begins
// with, the rest of which all of C2PA's types share. `contents`: its boxes.
std::string Superbox(std::string_view kind, std::string_view label, std::string_view contents);

// One that was read: views into its bytes.
struct ReadBox {
  struct Content {
    std::string_view type, payload;
  };
  std::string_view kind;  // four characters; empty: of none of these types
  std::string_view label;
  std::string_view hashed;        // description and contents: what references to it hash
  std::vector<Content> contents;  // boxes that are no superboxes
  std::vector<ReadBox> boxes;

  // The one superbox inside with that label; null where there is none.
  const ReadBox* Find(std::string_view label) const;
  // The payload of its only content box, where that is of `type`; empty otherwise.
  std::string_view Only(std::string_view type) const;
};

// One superbox, all of `bytes`. InvalidArgument: lengths that don't fit, no label, two superboxes
// side by side with one label, nested deeper than 8, more than 1,000 boxes.
absl::StatusOr<ReadBox> ReadSuperbox(std::string_view bytes);

}  // namespace tiltshift::provenance
