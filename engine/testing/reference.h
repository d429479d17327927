// What a graph computes, by its formulas as engine/graph.h has them: in double, an element at a time.
#pragma once

#include <map>
#include <vector>

#include "engine/graph.h"

namespace tiltshift::engine::testing {

// The elements of `output`, as Program::Read gives them. `inputs`: by tensor, as Program::Write takes them. All of a
// graph's values must be whole tensors.
std::vector<double> Evaluate(const Graph& graph, std::map<int, std::vector<double>> tensors, const Value& output);

}  // namespace tiltshift::engine::testing
