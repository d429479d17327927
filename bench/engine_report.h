// What the benches of the engine print of operations.
#pragma once

#include <vector>

#include "engine/backend.h"

namespace tiltshift::engine {

// A table by kind of operation; `alone`, where not null, is the same operations each by itself.
void PrintOps(const char* title, const std::vector<OpProfile>& ops, const std::vector<OpProfile>* alone);
// A line an operation.
void PrintEach(const char* title, const std::vector<OpProfile>& ops, const std::vector<OpProfile>& alone);

bool IsProduct(const OpProfile& op);  // a convolution or a linear layer
// GFLOP/s of the convolutions and linear layers, each at its best alone.
double ProductRate(const std::vector<OpProfile>& alone);
double SecondsOf(const std::vector<OpProfile>& ops);
double FlopsOf(const std::vector<OpProfile>& ops);

}  // namespace tiltshift::engine
