// The parts of drawing a scene that are tables of colours: the lamp, what is around, what the
// subject is made of. Each reads the words that the scene already has and takes its draws from
// `random` in a fixed order.
#pragma once

#include "models/recipe/scenes/random.h"
#include "models/recipe/scenes/scene.h"

namespace tiltshift::scenes {

void DrawLighting(Random& random, Scene& scene);
// After DrawLighting: a neon night dims the lamp and colours the rims.
void DrawSurroundings(Random& random, Scene& scene);
void DrawLooks(Random& random, Scene& scene);

}  // namespace tiltshift::scenes
