// What a picture says of itself as JSON-LD, the form that a metadata assertion of C2PA has: the
// properties of provenance/xmp.h under the same names.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "provenance/statement.h"

namespace tiltshift::provenance {

inline constexpr char kMetadataLabel[] = "cawg.metadata";

// A function of the statement alone (I4).
std::string MetadataOf(const Statement& statement);

// Back. What is not there, or no text, is empty. InvalidArgument: not JSON, or no object.
absl::StatusOr<Statement> StatementOf(std::string_view metadata);

}  // namespace tiltshift::provenance
