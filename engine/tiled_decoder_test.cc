// Tiles against the whole decode: what a tile keeps is right, to rounding, when it is given the
// whole's moments; with the moments that tiles measure themselves the tone differs by a step of 8
// bits or two, and no seam shows.
#include "engine/tiled_decoder.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/photo.h"
#include "engine/picture_coder.h"
#include "engine/testing/goldens.h"
#include "engine/testing/parity_case.h"

namespace tiltshift::engine {
namespace {

std::shared_ptr<const Model> Load(const std::string& folder) {
  auto model = Model::Load(folder, {Precision::kFp32});
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? *model : nullptr;
}

std::shared_ptr<const Model> Named(const std::string& name) {
  const std::string folder = ::testing::TempDir() + "tiled_decoder_" + name;
  EXPECT_TRUE(WriteParityModel(TILTSHIFT_SOURCE_DIR, name, folder).ok());
  return Load(folder);
}

// A picture with large shapes, fine lines and different corners.
std::vector<float> APicture(LatentSize size, int scale) {
  const int width = size.width * scale, height = size.height * scale;
  RgbImage photo{width, height, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const bool disc = std::hypot(x - width * 0.45, y - height * 0.55) < width * 0.25;
      const int lines = (x / 3 + y / 5) % 2 * 40;
      photo.rgb.push_back(static_cast<uint8_t>(disc ? 210 : 255 * x / width / 2 + lines));
      photo.rgb.push_back(static_cast<uint8_t>(disc ? 60 : 255 * y / height / 2 + 60));
      photo.rgb.push_back(static_cast<uint8_t>(disc ? 40 + lines : 120));
    }
  }
  return ToPlanar(photo.view());
}

std::vector<float> Encode(PictureCoder& coder, LatentSize size, int scale, Tiling tiling) {
  std::vector<float> moments;
  const absl::Status status = coder.Encode(size, APicture(size, scale), &moments, tiling);
  EXPECT_TRUE(status.ok()) << status;
  return moments;
}

// Its latent, as the UNet would leave it.
std::vector<float> LatentOfAPicture(PictureCoder& coder, LatentSize size, int scale) {
  const std::vector<float> moments = Encode(coder, size, scale, Tiling::kWhole);
  return coder.Sampled(moments, std::vector<float>(4 * size.height * size.width, 0.0f));
}

std::vector<float> Decode(PictureCoder& coder, LatentSize size, std::span<const float> latent,
                          int scale, Tiling tiling) {
  std::vector<float> picture(3 * size.height * size.width * scale * scale);
  const absl::Status status = coder.Decode(size, latent, picture, tiling);
  EXPECT_TRUE(status.ok()) << status;
  return picture;
}

double MeanDifference(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::fabs(a[i] - b[i]);
  return sum / static_cast<double>(a.size());
}

// TAESD has no norms: its tiles are the whole.
TEST(TiledDecoderTest, WithoutNormsTilesAreTheWhole) {
  const auto model = Named("taesd");
  ASSERT_NE(model, nullptr);
  PictureCoder coder(model->impl());
  const LatentSize size = {45, 50};
  const std::vector<float> latent = LatentOfAPicture(coder, size, 8);
  const std::vector<float> whole = Decode(coder, size, latent, 8, Tiling::kWhole);
  const std::vector<float> tiles = Decode(coder, size, latent, 8, Tiling::kTiles);
  double largest = 0;
  for (size_t i = 0; i < whole.size(); ++i)
    largest = std::max<double>(largest, std::fabs(whole[i] - tiles[i]));
  std::printf("  taesd: largest difference %.1e\n", largest);
  EXPECT_LT(largest, 1e-5);
  const double encoded =
      RelativeL2(Encode(coder, size, 8, Tiling::kTiles), Encode(coder, size, 8, Tiling::kWhole));
  std::printf("  taesd's encoder: relative L2 %.1e\n", encoded);
  EXPECT_LT(encoded, 1e-6);
}

// An encoder's tile in the middle of a photo, with the whole's moments.
TEST(TiledEncoderTest, TheHaloIsWhatTheConvolutionsReach) {
  const auto model = Named("small");
  ASSERT_NE(model, nullptr);
  const Model::Impl& impl = model->impl();
  const int halo = impl.vae->encoder_halo(), first = 5, part = 2 * halo + 4, side = first + part + 3,
            scale = impl.config.vae.scale();
  const auto whole = impl.vae->BuildEncodeLevels({side * scale, side * scale, 0}, Norms::kMeasured);
  const auto tile = impl.vae->BuildEncodeLevels({part * scale, part * scale, 0}, Norms::kGiven);
  auto whole_program = impl.backend->Compile(whole.graph, impl.compute);
  auto tile_program = impl.backend->Compile(tile.graph, impl.compute);
  ASSERT_TRUE(whole_program.ok() && tile_program.ok());
  const std::vector<float> photo = APicture({side, side}, scale);
  std::vector<float> piece;
  for (int row = 0; row < 3 * part * scale; ++row) {
    const int c = row / (part * scale), h = first * scale + row % (part * scale);
    const auto from = photo.begin() + (c * side * scale + h) * side * scale + first * scale;
    piece.insert(piece.end(), from, from + part * scale);
  }
  (*whole_program)->Write(whole.photo, photo);
  (*whole_program)->Run();
  (*tile_program)->Write(tile.photo, piece);
  for (size_t i = 0; i < tile.graph.given_moments().size(); ++i) {
    std::vector<float> row(tile.graph.given_moments()[i].shape.size());
    (*whole_program)->Read(whole.graph.measured_moments()[i], row);
    (*tile_program)->Write(tile.graph.given_moments()[i], row);
  }
  (*tile_program)->Run();
  std::vector<float> expected(whole.features.shape.size()), found(tile.features.shape.size());
  (*whole_program)->Read(whole.features, expected);
  (*tile_program)->Read(tile.features, found);
  const int channels = tile.features.shape.channels;
  const auto largest = [&](int margin) {
    double difference = 0;
    for (int y = margin; y < part - margin; ++y) {
      for (int x = margin * channels; x < (part - margin) * channels; ++x) {
        const float there = expected[((first + y) * side + first) * channels + x];
        difference = std::max<double>(difference, std::fabs(there - found[y * part * channels + x]));
      }
    }
    return difference;
  };
  std::printf("  inside the encoder's halo of %d: largest difference %.1e; at its edges %.1e\n", halo, largest(halo),
              largest(0));
  EXPECT_LT(largest(halo), 1e-4);
  EXPECT_GT(largest(0), 1e-2) << "the edges should be wrong: this compares nothing";
}

// The built-in model's, in four tiles: what is left is how far the tiles' moments are from the whole's.
TEST(TiledEncoderTest, ALatentFromTilesIsNearTheWholes) {
  const auto model = Load(TILTSHIFT_SOURCE_DIR "/models/diorama");
  ASSERT_NE(model, nullptr);
  PictureCoder coder(model->impl());
  const LatentSize size = {48, 60};
  const double error = RelativeL2(Encode(coder, size, 8, Tiling::kTiles), Encode(coder, size, 8, Tiling::kWhole));
  std::printf("  diorama's encoder: relative L2 %.1e\n", error);
  EXPECT_LT(error, 0.05);
}

// A tile in the middle of the features, with the whole's moments: beyond the halo it is the whole.
TEST(TiledDecoderTest, TheHaloIsWhatTheConvolutionsReach) {
  const auto model = Named("small");
  ASSERT_NE(model, nullptr);
  const Model::Impl& impl = model->impl();
  const int side = 48, halo = impl.vae->halo(), first = 7, part = 2 * halo + 6,
            scale = impl.config.vae.scale();
  ASSERT_LT(first + part, side);
  const Vae::DecodeGraph whole = impl.vae->BuildTail({side, side, 0}, Norms::kMeasured);
  const Vae::DecodeGraph tile = impl.vae->BuildTail({part, part, 0}, Norms::kGiven);
  auto whole_program = impl.backend->Compile(whole.graph, impl.compute);
  auto tile_program = impl.backend->Compile(tile.graph, impl.compute);
  ASSERT_TRUE(whole_program.ok() && tile_program.ok());

  const int channels = whole.latent.shape.channels;
  std::vector<float> features(side * side * channels), piece(part * part * channels);
  for (size_t i = 0; i < features.size(); ++i)
    features[i] = std::sin(static_cast<float>(i) * 0.7f) * 2;
  for (int h = 0; h < part; ++h) {
    std::copy_n(&features[((first + h) * side + first) * channels], part * channels,
                &piece[h * part * channels]);
  }
  (*whole_program)->Write(whole.latent, features);
  (*whole_program)->Run();
  (*tile_program)->Write(tile.latent, piece);
  const std::vector<Value>& from = whole.graph.measured_moments();
  const std::vector<Value>& to = tile.graph.given_moments();
  ASSERT_EQ(from.size(), to.size());
  for (size_t i = 0; i < to.size(); ++i) {
    std::vector<float> row(to[i].shape.size());
    (*whole_program)->Read(from[i], row);
    (*tile_program)->Write(to[i], row);
  }
  (*tile_program)->Run();
  std::vector<float> picture(whole.picture.shape.size()), pixels(tile.picture.shape.size());
  (*whole_program)->Read(whole.picture, picture);
  (*tile_program)->Read(tile.picture, pixels);
  const auto largest = [&](int margin) {
    double difference = 0;
    for (int y = margin * scale; y < (part - margin) * scale; ++y) {
      for (int x = margin * scale * 3; x < (part - margin) * scale * 3; ++x) {
        const float there = picture[((first * scale + y) * side + first) * scale * 3 + x];
        difference =
            std::max<double>(difference, std::fabs(there - pixels[y * part * scale * 3 + x]));
      }
    }
    return difference;
  };
  std::printf("  inside the halo of %d: largest difference %.1e; three cells out: %.1e\n", halo,
              largest(halo), largest(halo - 3));
  EXPECT_LT(largest(halo), 1e-4);
  EXPECT_GT(largest(0), 1e-2) << "the edges should be wrong: this compares nothing";
}

// The built-in model, in four tiles.
TEST(TiledDecoderTest, NoSeamShows) {
  const auto model = Load(TILTSHIFT_SOURCE_DIR "/models/diorama");
  ASSERT_NE(model, nullptr);
  PictureCoder coder(model->impl());
  const LatentSize size = {48, 60};
  const int scale = 8, width = size.width * scale, height = size.height * scale;
  const std::vector<float> latent = LatentOfAPicture(coder, size, scale);
  const std::vector<float> whole = Decode(coder, size, latent, scale, Tiling::kWhole);
  const std::vector<float> tiles = Decode(coder, size, latent, scale, Tiling::kTiles);
  const double mean = MeanDifference(whole, tiles) * 127.5;
  std::printf("  diorama %dx%d: mean difference %.3f of 255\n", width, height, mean);
  EXPECT_LT(mean, 2);

  // How much the difference jumps from one column to the next: where tiles meet not more than
  // elsewhere.
  std::vector<double> jumps(width - 1, 0.0);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x + 1 < width; ++x) {
      for (int c = 0; c < 3; ++c) {
        const size_t i = (int64_t{y} * width + x) * 3 + c;
        jumps[x] += std::fabs((tiles[i + 3] - whole[i + 3]) - (tiles[i] - whole[i])) /
                    (3.0 * height) * 127.5;
      }
    }
  }
  double sum = 0;
  for (const double jump : jumps) sum += jump;
  const double at_seam = jumps[width / 2 - 1], elsewhere = sum / static_cast<double>(jumps.size());
  std::printf("  jumps between columns: %.4f of 255 where tiles meet, %.4f in the mean\n", at_seam,
              elsewhere);
  EXPECT_LT(at_seam, 2 * elsewhere);
}

}  // namespace
}  // namespace tiltshift::engine
