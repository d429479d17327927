#include "bench/farm_report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace tiltshift::bench {
namespace {

// The picture, in its own units.
constexpr double kWidth = 640, kHeight = 400, kLeft = 70, kBottom = 340, kTop = 40, kRight = 600;

struct Axis {
  double low, high;        // powers of ten
  double at_low, at_high;  // where they are in the picture
  double Place(double value) const {
    return at_low + (std::log10(value) - low) / (high - low) * (at_high - at_low);
  }
};

Axis Span(const std::vector<double>& values, double at_low, double at_high) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  const double floor = std::floor(std::log10(*low));
  return {floor, std::max(floor + 1, std::ceil(std::log10(*high))), at_low, at_high};
}

std::string Text(double x, double y, const std::string& anchor, const std::string& text) {
  return absl::StrFormat("<text x=\"%.0f\" y=\"%.0f\" text-anchor=\"%s\">%s</text>\n", x, y, anchor,
                         text);
}

}  // namespace

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void PrintTable(const std::vector<Figure>& figures, const std::vector<Point>& points) {
  std::printf("%-44s %14s %-12s %14s %7s  %-34s %s\n", "what", "figure", "", "limit", "share",
              "the limit is", "goal");
  for (const Figure& figure : figures) {
    const std::string limit = figure.limit > 0 ? absl::StrFormat("%.6g", figure.limit) : "";
    const std::string share =
        figure.limit > 0 ? absl::StrFormat("%.1f%%", 100 * figure.value / figure.limit) : "";
    std::printf("%-44s %14.6g %-12s %14s %7s  %-34s %s\n", figure.name.c_str(), figure.value,
                figure.unit.c_str(), limit.c_str(), share.c_str(), figure.limit_name.c_str(),
                figure.goal.c_str());
  }
  if (points.empty()) return;
  std::printf("\n%-10s %8s %18s %14s %10s %10s %10s\n", "curve", "size", "scheduler us/turn",
              "redis us/turn", "p50 ms", "p99 ms", "MiB");
  for (const Point& point : points) {
    std::printf("%-10s %8.0f %18.1f %14.1f %10.2f %10.2f %10.1f\n", point.curve.c_str(), point.size,
                point.scheduler_us, point.redis_us, point.p50_ms, point.p99_ms, point.mib);
  }
}

std::string ToJson(const std::vector<Figure>& figures, const std::vector<Point>& points) {
  nlohmann::json json = {{"figures", nlohmann::json::array()}, {"growth", nlohmann::json::array()}};
  for (const Figure& figure : figures) {
    nlohmann::json entry = {{"name", figure.name}, {"value", figure.value}, {"unit", figure.unit}};
    if (figure.limit > 0) {
      entry["limit"] = figure.limit;
      entry["limit_is"] = figure.limit_name;
      entry["share"] = figure.value / figure.limit;
    }
    if (!figure.goal.empty()) entry["goal"] = figure.goal;
    json["figures"].push_back(entry);
  }
  for (const Point& point : points) {
    json["growth"].push_back({{"curve", point.curve},
                              {"size", point.size},
                              {"scheduler_us_a_turn", point.scheduler_us},
                              {"redis_us_a_turn", point.redis_us},
                              {"p50_ms", point.p50_ms},
                              {"p99_ms", point.p99_ms},
                              {"scheduler_mib", point.mib}});
  }
  return json.dump(1);
}

std::string ToCsv(const std::vector<Point>& points) {
  std::string csv = "curve,size,scheduler_us_a_turn,redis_us_a_turn,p50_ms,p99_ms,scheduler_mib\n";
  for (const Point& point : points) {
    absl::StrAppend(&csv, absl::StrFormat("%s,%.0f,%.2f,%.2f,%.3f,%.3f,%.1f\n", point.curve,
                                          point.size, point.scheduler_us, point.redis_us,
                                          point.p50_ms, point.p99_ms, point.mib));
  }
  return csv;
}

std::string ToSvg(const std::vector<Point>& points) {
  std::vector<double> sizes, costs;
  std::map<std::string, std::vector<Point>> curves;
  for (const Point& point : points) {
    sizes.push_back(point.size);
    costs.push_back(std::max(point.scheduler_us, 0.1));
    curves[point.curve].push_back(point);
  }
  if (points.empty()) return "";
  const Axis x = Span(sizes, kLeft, kRight), y = Span(costs, kBottom, kTop);
  std::string svg = absl::StrFormat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
      "font-family=\"sans-serif\" font-size=\"12\">\n"
      "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
      kWidth, kHeight);
  for (double power = x.low; power <= x.high; ++power) {
    const double at = x.Place(std::pow(10, power));
    absl::StrAppend(
        &svg, absl::StrFormat("<path d=\"M%.0f %.0fV%.0f\" stroke=\"#ddd\"/>\n", at, kBottom, kTop),
        Text(at, kBottom + 18, "middle", absl::StrCat(std::pow(10, power))));
  }
  for (double power = y.low; power <= y.high; ++power) {
    const double at = y.Place(std::pow(10, power));
    absl::StrAppend(
        &svg, absl::StrFormat("<path d=\"M%.0f %.0fH%.0f\" stroke=\"#ddd\"/>\n", kLeft, at, kRight),
        Text(kLeft - 8, at + 4, "end", absl::StrCat(std::pow(10, power))));
  }
  absl::StrAppend(&svg, Text(kLeft, 20, "start", "scheduler: microseconds of processor a turn"),
                  Text(kRight, kHeight - 16, "end", "workers, or jobs"));
  const char* const colors[] = {"#c0392b", "#2471a3", "#1e8449"};
  int next = 0;
  for (const auto& [name, curve] : curves) {
    const char* const color = colors[next++ % 3];
    std::string path;
    for (const Point& point : curve) {
      absl::StrAppendFormat(&path, "%s%.1f %.1f", path.empty() ? "M" : "L", x.Place(point.size),
                            y.Place(std::max(point.scheduler_us, 0.1)));
    }
    absl::StrAppendFormat(&svg, "<path d=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"/>\n",
                          path, color);
    absl::StrAppendFormat(&svg, "<text x=\"%.0f\" y=\"%d\" fill=\"%s\">%s</text>\n", kLeft + 12,
                          static_cast<int>(kTop) + 4 + 18 * next, color, name);
  }
  return svg + "</svg>\n";
}

}  // namespace tiltshift::bench
