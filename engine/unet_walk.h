// A graph under construction, and what its layers are given beside their input.
#pragma once

#include "engine/unet.h"

namespace tiltshift::engine {

struct UNet::Walk {
  Graph& graph;
  Value time, context;

  Value Layer(const UNet::Layer& layer, const Value& x) const {
    const Value row = Graph::Channels(time, layer.time_first, layer.resnet.out);
    const Value h = layer.resnet.Build(graph, x, row);
    return layer.transformer ? layer.transformer->Build(graph, h, context) : h;
  }
  Value Conv(const char* name, const Affine& affine, const Value& x, int stride = 1) const {
    return graph.Conv(name,
                      {.x = x, .filter = affine.weight, .bias = affine.bias, .stride = stride});
  }
};

}  // namespace tiltshift::engine
