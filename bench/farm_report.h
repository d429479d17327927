// What a bench found: a figure beside its limit and its goal, as a table, as JSON and, for what
// grows, as CSV and as a picture.
#pragma once

#include <string>
#include <vector>

namespace tiltshift::bench {

struct Figure {
  std::string name;
  double value = 0;
  std::string unit;
  double limit = 0;  // what it can be at best; 0: none known
  std::string limit_name;
  std::string goal;  // for people; empty: none
};

// One point of a curve: what a turn costs at a size of the farm.
struct Point {
  std::string curve;  // "workers" or "jobs"
  double size = 0;
  double scheduler_us = 0, redis_us = 0;  // processor time a turn
  double p50_ms = 0, p99_ms = 0;
  double mib = 0;  // of the scheduler
};

double Median(std::vector<double> values);

void PrintTable(const std::vector<Figure>& figures, const std::vector<Point>& points);
std::string ToJson(const std::vector<Figure>& figures, const std::vector<Point>& points);
std::string ToCsv(const std::vector<Point>& points);
// The scheduler's processor time a turn over size, both logarithmic, a line a curve.
std::string ToSvg(const std::vector<Point>& points);

}  // namespace tiltshift::bench
