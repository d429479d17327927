#include "picture/testing/photos.h"

#include <cmath>

#include "picture/vips.h"

namespace tiltshift::picture {
namespace {

OwnedImage AsVips(const Image& image) {
  StartVips();
  return OwnedImage(vips_image_copy_memory(
      OwnedImage(vips_image_new_from_memory(image.rgb.data(), image.rgb.size(), image.width,
                                            image.height, 3, VIPS_FORMAT_UCHAR))
          .get()));
}

void Become(OwnedImage& image, VipsImage* out) { image.reset(out); }

std::optional<std::string> Save(VipsImage* image, const std::string& suffix) {
  void* bytes = nullptr;
  size_t size = 0;
  if (vips_image_write_to_buffer(image, suffix.c_str(), &bytes, &size, nullptr) != 0) {
    vips_error_clear();
    return std::nullopt;
  }
  std::string saved(static_cast<const char*>(bytes), size);
  g_free(bytes);
  return saved;
}

std::string Big(uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16),
          static_cast<char>(value >> 8), static_cast<char>(value)};
}

uint32_t Crc32(const std::string& bytes) {
  uint32_t crc = 0xffffffff;
  for (const unsigned char byte : bytes) {
    crc ^= byte;
    for (int i = 0; i < 8; ++i) crc = (crc >> 1) ^ (0xedb88320 & (0u - (crc & 1)));
  }
  return ~crc;
}

}  // namespace

Image Scene(int width, int height) {
  Image image{width, height, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const bool left = x < width / 2, top = y < height / 2;
      const auto texture = static_cast<int>(12 * std::sin(x * 0.9) * std::sin(y * 0.7));
      const int shade = 90 + 80 * (x + y) / (width + height) + texture;
      const int red = left && top ? 210 : !left && !top ? 30 : shade;
      const int blue = left && top ? 40 : !left && !top ? 220 : shade;
      for (const int value : {red, shade / 2 + 30, blue})
        image.rgb.push_back(static_cast<uint8_t>(value));
    }
  }
  return image;
}

std::optional<std::string> Saved(const Image& scene, const std::string& suffix,
                                 const SaveOptions& options) {
  OwnedImage image = AsVips(scene);
  VipsImage* out = nullptr;
  if (options.grey) {
    if (vips_colourspace(image.get(), &out, VIPS_INTERPRETATION_B_W, nullptr) != 0)
      return std::nullopt;
    Become(image, out);
  }
  if (options.alpha) {
    Image alpha{scene.width, scene.height, {}};
    for (int y = 0; y < scene.height; ++y) {
      for (int x = 0; x < scene.width; ++x)
        alpha.rgb.push_back(x >= scene.width / 2 && y >= scene.height / 2 ? 0 : 255);
    }
    const OwnedImage mask(vips_image_new_from_memory_copy(
        alpha.rgb.data(), alpha.rgb.size(), scene.width, scene.height, 1, VIPS_FORMAT_UCHAR));
    if (vips_bandjoin2(image.get(), mask.get(), &out, nullptr) != 0) return std::nullopt;
    Become(image, out);
  }
  if (options.wide) {
    if (vips_colourspace(image.get(), &out, VIPS_INTERPRETATION_RGB16, nullptr) != 0)
      return std::nullopt;
    Become(image, out);
  }
  if (options.profile == "cmyk") {
    if (vips_icc_transform(image.get(), &out, "cmyk", "input_profile", "srgb", nullptr) != 0)
      return std::nullopt;
    Become(image, out);
  } else if (!options.profile.empty()) {
    VipsBlob* profile = nullptr;
    if (vips_profile_load(options.profile.c_str(), &profile, nullptr) != 0) return std::nullopt;
    size_t size = 0;
    const void* bytes = vips_blob_get(profile, &size);
    if (vips_copy(image.get(), &out, nullptr) != 0) return std::nullopt;
    Become(image, out);
    vips_image_set_blob_copy(image.get(), VIPS_META_ICC_NAME, bytes, size);
    vips_area_unref(VIPS_AREA(profile));
  }
  if (options.orientation != 0) {
    if (vips_copy(image.get(), &out, nullptr) != 0) return std::nullopt;
    Become(image, out);
    vips_image_set_int(image.get(), VIPS_META_ORIENTATION, options.orientation);
  }
  return Save(image.get(), suffix);
}

std::optional<std::string> Animated() {
  const OwnedImage image = AsVips(Scene(32, 96));
  VipsImage* out = nullptr;
  if (vips_copy(image.get(), &out, nullptr) != 0) return std::nullopt;
  const OwnedImage frames(out);
  vips_image_set_int(frames.get(), VIPS_META_PAGE_HEIGHT, 32);
  return Save(frames.get(), ".webp");
}

std::string HugePng() {
  std::string png = *Saved(Scene(16, 16), ".png");
  std::string header = png.substr(12, 17);  // "IHDR" and its data
  header.replace(4, 8, Big(60'000) + Big(60'000));
  return png.replace(12, 17, header).replace(29, 4, Big(Crc32(header)));
}

std::string HugeJpeg() {
  std::string jpeg = *Saved(Scene(16, 16), ".jpg");
  const size_t frame = jpeg.find("\xff\xc0");
  return jpeg.replace(frame + 5, 4, Big(65'500u << 16 | 65'500u));
}

std::vector<std::string> HostileSeeds() {
  std::vector<std::string> seeds = {
      "<svg xmlns='http://www.w3.org/2000/svg' width='99999' height='99999'/>",
      "GIF89a\x01\x00\x01\x00", "%PDF-1.7\n1 0 obj", HugePng(), HugeJpeg()};
  for (const char* suffix : {".jpg", ".png", ".webp", ".heic"}) {
    for (const SaveOptions& options :
         {SaveOptions{}, SaveOptions{.orientation = 5, .profile = "p3"}}) {
      if (auto file = Saved(Scene(96, 64), suffix, options)) seeds.push_back(*std::move(file));
    }
  }
  seeds.push_back(*Saved(Scene(64, 64), ".png", {.alpha = true}));
  seeds.push_back(*Saved(Scene(64, 64), ".jpg", {.profile = "cmyk"}));
  seeds.push_back(*Animated());
  return seeds;
}

std::string DecoderProgram() { return TILTSHIFT_BINARY_DIR "/bin/tiltshift-photo-decoder"; }

}  // namespace tiltshift::picture
