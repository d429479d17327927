// What a picture says of itself as XMP, with the properties of the IPTC Photo Metadata Standard
// 2025.1. A function of the statement alone (I4).
#pragma once

#include <string>

#include "provenance/statement.h"

namespace tiltshift::provenance {

// The packet, UTF-8.
std::string XmpOf(const Statement& statement);

}  // namespace tiltshift::provenance
