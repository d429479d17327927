#include "picture/sheet.h"

#include <algorithm>
#include <cstring>

#include "base/file.h"
#include "picture/png.h"
#include "picture/vips.h"

namespace tiltshift::picture {
namespace {

// A label's lines are 17 pixels apart: two have at most 34 of ink, three at least 42.
constexpr int kMargin = 28, kGap = 18, kLabelHeight = 38, kLabelGap = 8, kTitleHeight = 64;
constexpr uint8_t kPaper[3] = {247, 246, 243};
constexpr uint8_t kInk[3] = {46, 44, 42};
constexpr uint8_t kFaint[3] = {105, 101, 96};

class Canvas {
 public:
  Canvas(int width, int height) : image_{width, height, {}} {
    image_.rgb.resize(static_cast<size_t>(width) * height * 3);
    for (size_t i = 0; i < image_.rgb.size(); ++i) image_.rgb[i] = kPaper[i % 3];
  }

  void Paste(const Image& picture, int left, int top) {
    for (int y = 0; y < picture.height; ++y) {
      std::memcpy(At(left, top + y), &picture.rgb[static_cast<size_t>(y) * picture.width * 3],
                  picture.width * 3);
    }
  }

  // `mask` is 0..255 coverage, [height, width], cut to the canvas.
  void Ink(const std::vector<uint8_t>& mask, int width, int height, int left, int top,
           const uint8_t color[3]) {
    for (int y = 0; y < height && top + y < image_.height; ++y) {
      for (int x = 0; x < width && left + x < image_.width; ++x) {
        const int cover = mask[static_cast<size_t>(y) * width + x];
        uint8_t* pixel = At(left + x, top + y);
        for (int c = 0; c < 3; ++c)
          pixel[c] =
              static_cast<uint8_t>((pixel[c] * (255 - cover) + color[c] * cover + 127) / 255);
      }
    }
  }

  Image Take() { return std::move(image_); }

 private:
  uint8_t* At(int x, int y) { return &image_.rgb[(static_cast<size_t>(y) * image_.width + x) * 3]; }
  Image image_;
};

std::string EscapeMarkup(const std::string& text) {
  char* escaped = g_markup_escape_text(text.c_str(), -1);
  std::string result(escaped);
  g_free(escaped);
  return result;
}

struct Box {
  int left, top, width, height;
  bool centered = false;
};

absl::StatusOr<OwnedImage> TextMask(const std::string& text, const char* font, const Box& box) {
  VipsImage* drawn = nullptr;
  if (vips_text(&drawn, EscapeMarkup(text).c_str(), "font", font, "width", box.width, "align",
                box.centered ? VIPS_ALIGN_CENTRE : VIPS_ALIGN_LOW,
#if VIPS_MAJOR_VERSION > 8 || VIPS_MINOR_VERSION >= 14
                "wrap", VIPS_TEXT_WRAP_WORD_CHAR,
#endif
                "dpi", 96, nullptr) != 0) {
    return VipsStatus("cannot draw text (is fonts-dejavu-core installed?)");
  }
  return OwnedImage(drawn);
}

// Before libvips 8.14 a word wider than the box sticks out instead of going on in the next line.
bool Fits(const VipsImage& mask, const Box& box) {
#if VIPS_MAJOR_VERSION > 8 || VIPS_MINOR_VERSION >= 14
  return mask.Ysize <= box.height;
#else
  return mask.Ysize <= box.height && mask.Xsize <= box.width;
#endif
}

// The mask of the text, or of its longest beginning and an ellipsis that fit into the box; null
// where not even one character does.
absl::StatusOr<OwnedImage> FittingMask(const std::string& text, const char* font, const Box& box) {
  // A box's text is bounded before it is laid out: no letter is smaller than 3x13 pixels.
  const glong most = int64_t{box.width} * box.height / (3 * 13);
  const glong length = g_utf8_strlen(text.c_str(), -1);
  if (length <= most) {
    TS_ASSIGN_OR_RETURN(OwnedImage whole, TextMask(text, font, box));
    if (Fits(*whole, box)) return whole;
  }
  OwnedImage best;
  glong fits = 0, too_long = std::min(length, most + 1);
  while (too_long - fits > 1) {
    const glong middle = fits + (too_long - fits) / 2;
    const char* end = g_utf8_offset_to_pointer(text.c_str(), middle);
    TS_ASSIGN_OR_RETURN(OwnedImage cut, TextMask(std::string(text.c_str(), end) + "…", font, box));
    if (Fits(*cut, box)) {
      fits = middle;
      best = std::move(cut);
    } else {
      too_long = middle;
    }
  }
  return best;
}

absl::Status DrawText(Canvas& canvas, std::string text, const char* font, const Box& box,
                      const uint8_t color[3]) {
  if (text.empty()) return absl::OkStatus();
  if (!g_utf8_validate(text.data(), text.size(), nullptr)) text = "(not UTF-8)";
  TS_ASSIGN_OR_RETURN(const OwnedImage drawn, FittingMask(text, font, box));
  if (drawn == nullptr) return absl::OkStatus();
  size_t size = 0;
  void* mask = vips_image_write_to_memory(drawn.get(), &size);
  if (mask == nullptr) return VipsStatus("cannot draw text");
  const std::vector<uint8_t> cover(static_cast<uint8_t*>(mask), static_cast<uint8_t*>(mask) + size);
  g_free(mask);
  const int shift = box.centered ? (box.width - drawn->Xsize) / 2 : 0;
  canvas.Ink(cover, drawn->Xsize, drawn->Ysize, box.left + shift, box.top, color);
  return absl::OkStatus();
}

// The picture at `path`, its longer side `pixels` long.
absl::StatusOr<Image> Thumbnail(const std::string& path, int pixels) {
  TS_ASSIGN_OR_RETURN(const std::string png, ReadFile(path));
  const auto decoded = DecodePng(png);
  if (!decoded.ok()) return Annotate(decoded.status(), path);
  if (std::max(decoded->width, decoded->height) == pixels) return *decoded;
  OwnedImage whole(vips_image_new_from_memory(decoded->rgb.data(), decoded->rgb.size(),
                                              decoded->width, decoded->height, 3,
                                              VIPS_FORMAT_UCHAR));
  TS_RETURN_IF_ERROR(Apply(whole, "cannot resize", vips_thumbnail_image, pixels, "height", pixels));
  return PixelsOf(std::move(whole));
}

}  // namespace

absl::StatusOr<Image> DrawSheet(std::span<const SheetCell> cells, const SheetOptions& options) {
  StartVips();
  if (cells.empty() || cells.size() > kMostCells) {
    return absl::InvalidArgumentError(
        absl::StrCat("a sheet holds 1 to ", kMostCells, " pictures, not ", cells.size()));
  }
  const int cell = std::clamp(options.cell_pixels, 16, 1024);
  const int columns = std::clamp(options.columns, 1, static_cast<int>(cells.size()));
  const int rows = (static_cast<int>(cells.size()) + columns - 1) / columns;
  const int row_height = cell + kLabelGap + kLabelHeight + kGap;
  const int top = kMargin + (options.title.empty() ? 0 : kTitleHeight);
  Canvas canvas(2 * kMargin + columns * cell + (columns - 1) * kGap,
                top + rows * row_height - kGap + kMargin);
  const Box title{kMargin, kMargin, columns * cell + (columns - 1) * kGap, kTitleHeight - 12};
  TS_RETURN_IF_ERROR(DrawText(canvas, options.title, "DejaVu Sans Bold 20", title, kInk));
  for (size_t i = 0; i < cells.size(); ++i) {
    const int left = kMargin + static_cast<int>(i % columns) * (cell + kGap);
    const int y = top + static_cast<int>(i / columns) * row_height;
    TS_ASSIGN_OR_RETURN(const Image picture, Thumbnail(cells[i].png_path, cell));
    canvas.Paste(picture, left + (cell - picture.width) / 2, y + (cell - picture.height) / 2);
    const Box label{left, y + cell + kLabelGap, cell, kLabelHeight, true};
    TS_RETURN_IF_ERROR(DrawText(canvas, cells[i].label, "DejaVu Sans 10", label, kFaint));
  }
  return canvas.Take();
}

}  // namespace tiltshift::picture
