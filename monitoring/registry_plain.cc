// The registry without a library, for systems that have no prometheus-cpp.
#include <array>
#include <atomic>
#include <deque>
#include <mutex>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "monitoring/registry.h"
#include "monitoring/series.h"
#include "monitoring/text_server.h"

namespace tiltshift::monitoring {
namespace {

// One line of text, or a histogram's lines.
struct Series {
  std::string labels;             // name="value",...
  std::atomic<double> value = 0;  // of a histogram: the sum
  std::array<std::atomic<uint64_t>, kSeconds.size() + 1> buckets = {};
};

struct Family {
  std::string name, help, type;
  std::deque<Series> series;  // never move
};

std::string LabelText(const Labels& labels) {
  return absl::StrJoin(labels, ",", [](std::string* text, const auto& label) {
    const auto escaped =
        absl::StrReplaceAll(label.second, {{"\\", "\\\\"}, {"\"", "\\\""}, {"\n", "\\n"}});
    absl::StrAppend(text, label.first, "=\"", escaped, "\"");
  });
}

std::string InBraces(const std::string& labels) {
  return labels.empty() ? "" : absl::StrCat("{", labels, "}");
}

void AppendHistogram(const Family& family, const Series& series, std::string* text) {
  const std::string comma = series.labels.empty() ? "" : ",";
  uint64_t count = 0;
  for (size_t i = 0; i <= kSeconds.size(); ++i) {
    count += series.buckets[i];
    const std::string bound =
        i < kSeconds.size() ? absl::StrFormat("%g", kSeconds[i]) : std::string("+Inf");
    absl::StrAppend(text, family.name, "_bucket{", series.labels, comma, "le=\"", bound, "\"} ",
                    count, "\n");
  }
  const std::string labels = InBraces(series.labels);
  absl::StrAppendFormat(text, "%s_sum%s %.17g\n", family.name, labels, series.value.load());
  absl::StrAppend(text, family.name, "_count", labels, " ", count, "\n");
}

}  // namespace

void Counter::Add(double by) const { static_cast<Series*>(impl)->value += by; }
void Gauge::Set(double value) const { static_cast<Series*>(impl)->value = value; }
void Gauge::Add(double by) const { static_cast<Series*>(impl)->value += by; }
void Histogram::Observe(double seconds) const {
  if (impl == nullptr) return;
  auto* series = static_cast<Series*>(impl);
  size_t bucket = 0;
  while (bucket < kSeconds.size() && seconds > kSeconds[bucket]) ++bucket;
  ++series->buckets[bucket];
  series->value += seconds;
}

struct Registry::Impl {
  Series* Add(const std::string& type, const std::string& name, const std::string& help,
              const Labels& labels) {
    std::lock_guard lock(mutex);
    Family* family = nullptr;
    for (Family& known : families) {
      if (known.name == name) family = &known;
    }
    if (family == nullptr) family = &families.emplace_back(Family{name, help, type, {}});
    Series& series = family->series.emplace_back();
    series.labels = LabelText(labels);
    return &series;
  }

  std::string Text() {
    std::lock_guard lock(mutex);
    std::string text;
    for (const Family& family : families) {
      absl::StrAppend(&text, "# HELP ", family.name, " ", family.help, "\n");
      absl::StrAppend(&text, "# TYPE ", family.name, " ", family.type, "\n");
      for (const Series& series : family.series) {
        if (family.type == "histogram") {
          AppendHistogram(family, series, &text);
        } else {
          absl::StrAppendFormat(&text, "%s%s %.17g\n", family.name, InBraces(series.labels),
                                series.value.load());
        }
      }
    }
    return text;
  }

  std::mutex mutex;
  std::deque<Family> families;
  std::unique_ptr<TextServer> server;  // goes first: it asks for the text
};

Registry::Registry() : impl_(std::make_unique<Impl>()) {}
Registry::~Registry() = default;

Counter Registry::AddCounter(const std::string& name, const std::string& help,
                             const Labels& labels) {
  return {impl_->Add("counter", name, help, labels)};
}

Gauge Registry::AddGauge(const std::string& name, const std::string& help, const Labels& labels) {
  return {impl_->Add("gauge", name, help, labels)};
}

Histogram Registry::AddHistogram(const std::string& name, const std::string& help,
                                 const Labels& labels) {
  return {impl_->Add("histogram", name, help, labels)};
}

absl::Status Registry::Serve(const std::string& address) {
  auto server = TextServer::Start(address, [impl = impl_.get()] { return impl->Text(); });
  if (!server.ok()) return CannotServe(address, Message(server.status()));
  impl_->server = *std::move(server);
  return absl::OkStatus();
}

}  // namespace tiltshift::monitoring
