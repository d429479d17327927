// A contact sheet: pictures in rows, a label under each, a title above.
#pragma once

#include <span>
#include <string>

#include "base/status.h"
#include "picture/image.h"

namespace tiltshift::picture {

struct SheetCell {
  std::string png_path;
  std::string label;  // plain text; wrapped, and cut after two lines
};

struct SheetOptions {
  int columns = 6;
  int cell_pixels = 256;  // the longer side of a picture on the sheet
  std::string title;
};

inline constexpr size_t kMostCells = 200;

// InvalidArgument for no cells or more than kMostCells: page them. A picture that can't be read is
// an error that names it.
absl::StatusOr<Image> DrawSheet(std::span<const SheetCell> cells, const SheetOptions& options);

}  // namespace tiltshift::picture
