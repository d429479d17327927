#include "engine/testing/parity_photo.h"

namespace tiltshift::engine {

RgbImage ParityPhoto() {
  RgbImage photo{kParityPhotoWidth, kParityPhotoHeight, {}};
  for (int y = 0; y < photo.height; ++y) {
    for (int x = 0; x < photo.width; ++x) {
      for (const int value : {x * 255 / 99, y * 255 / 74, (x * 7 + y * 13) % 256}) {
        photo.rgb.push_back(static_cast<uint8_t>(value));
      }
    }
  }
  return photo;
}

RgbImage ParityMask() {
  RgbImage mask{kParityPhotoWidth, kParityPhotoHeight, {}};
  for (int y = 0; y < mask.height; ++y) {
    for (int x = 0; x < mask.width; ++x) {
      const bool inside = (x - 60) * (x - 60) * 4 + (y - 35) * (y - 35) * 9 < 6000;
      mask.rgb.insert(mask.rgb.end(), 3, inside ? 255 : 0);
    }
  }
  return mask;
}

RgbImage ParityControlPicture(int i) {
  RgbImage picture{90, 70, {}};
  for (int y = 0; y < picture.height; ++y) {
    for (int x = 0; x < picture.width; ++x) {
      for (const int value : {x * (3 + i) + y * 5, x * 2 + y * (7 - i), x * y / 16 + 90 * i}) {
        picture.rgb.push_back(static_cast<uint8_t>(value % 256));
      }
    }
  }
  return picture;
}

}  // namespace tiltshift::engine
