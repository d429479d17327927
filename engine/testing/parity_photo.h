// The photo and the mask of the comparisons with diffusers: formulas, the same as in
// tests/goldens/parity/make_goldens.py.
#pragma once

#include "engine/photo.h"

namespace tiltshift::engine {

inline constexpr int kParityPhotoWidth = 100, kParityPhotoHeight = 75;

RgbImage ParityPhoto();
RgbImage ParityMask();                 // an ellipse to be made anew
RgbImage ParityControlPicture(int i);  // another for each ControlNet

}  // namespace tiltshift::engine
