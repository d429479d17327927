#include "engine/cuda/card_forward.h"

#include <algorithm>
#include <limits>

#include "base/check.h"

namespace tiltshift::engine::cuda {
namespace {

Value Whole(const Graph& graph, int tensor) { return {tensor, 0, graph.tensors()[tensor].shape}; }

class Event {
 public:
  Event() { cudaEventCreate(&event_); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace

absl::StatusOr<HostSide> HostSide::New(const Graph& graph) {
  HostSide side;
  size_t bytes = 0;
  for (const TensorInfo& info : graph.tensors()) {
    side.offsets_.push_back(bytes);
    const bool here = (info.written || info.read) && info.element == Element::kFloat;
    if (here) bytes += (info.shape.size() * sizeof(float) + 255) / 256 * 256;
  }
  TS_ASSIGN_OR_RETURN(side.memory_, PinnedBytes::New(bytes));
  std::fill_n(side.memory_.get(), bytes, char{0});
  return side;
}

std::span<float> HostSide::Of(const Value& value) const {
  return {reinterpret_cast<float*>(memory_.get() + offsets_[value.tensor]),
          static_cast<size_t>(value.shape.size())};
}

absl::StatusOr<std::unique_ptr<CardForward>> CardForward::New(
    const Graph& graph, CardWeights& weights, std::span<const HostSide* const> sides) {
  std::unique_ptr<CardForward> forward(new CardForward(graph, static_cast<int>(sides.size())));
  forward->sides_.assign(sides.begin(), sides.end());
  TS_RETURN_IF_ERROR(forward->Prepare(weights));
  TS_RETURN_IF_ERROR(forward->Capture());
  return forward;
}

absl::StatusOr<std::unique_ptr<CardForward>> CardForward::NewOnCard(const Graph& graph,
                                                                    CardWeights& weights, int batch,
                                                                    const After& after) {
  std::unique_ptr<CardForward> forward(new CardForward(graph, batch));
  TS_RETURN_IF_ERROR(forward->Prepare(weights));
  forward->after_ = after(*forward);
  TS_RETURN_IF_ERROR(forward->Capture());
  return forward;
}

absl::Status CardForward::Prepare(CardWeights& weights) {
  const size_t arrivals_bytes = layout_.batch() * sizeof(uint32_t);
  TS_ASSIGN_OR_RETURN(memory_, DeviceBytes::New(layout_.bytes() + arrivals_bytes));
  TS_ASSIGN_OR_RETURN(scratch_, DeviceBytes::New(ScratchBytes(graph_, layout_)));
  TS_RETURN_IF_ERROR(
      ToStatus(cudaMemset(memory_.get(), 0, layout_.bytes() + arrivals_bytes), "clearing memory"));
  const Setting setting = {
      graph_,        layout_,        weights,
      memory_.get(), scratch_.get(), reinterpret_cast<uint32_t*>(memory_.get() + layout_.bytes())};
  TS_ASSIGN_OR_RETURN(steps_, MakeSteps(setting));
  TS_RETURN_IF_ERROR(ToStatus(cudaStreamSynchronize(nullptr), "clearing memory"));
  return ToStatus(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream");
}

CardForward::~CardForward() {
  if (captured_ != nullptr) cudaGraphExecDestroy(captured_);
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
}

cudaError_t CardForward::Transfer(cudaMemcpyKind kind) const {
  const bool in = kind == cudaMemcpyHostToDevice;
  for (int t = 0; t < static_cast<int>(graph_.tensors().size()); ++t) {
    const TensorInfo& info = graph_.tensors()[t];
    if (!(in ? info.written : info.read) || info.element != Element::kFloat) continue;
    for (size_t sample = 0; sample < sides_.size(); ++sample) {
      const Value value = Whole(graph_, t);
      char* card = memory_.get() + layout_.Offset(value, static_cast<int>(sample));
      const std::span<float> host = sides_[sample]->Of(value);
      const cudaError_t error =
          in ? cudaMemcpyAsync(card, host.data(), host.size_bytes(), kind, stream_)
             : cudaMemcpyAsync(host.data(), card, host.size_bytes(), kind, stream_);
      if (error != cudaSuccess) return error;
    }
  }
  return cudaSuccess;
}

cudaError_t CardForward::Launch(std::string* refused) const {
  cudaError_t error = Transfer(cudaMemcpyHostToDevice);
  for (const Step& step : steps_) {
    if (error != cudaSuccess) return error;
    error = step.launch(stream_);
    const Node& node = graph_.nodes()[step.node];
    if (error != cudaSuccess) *refused = absl::StrCat(KindOf(node.op), " ", node.name);
  }
  if (error == cudaSuccess) error = Transfer(cudaMemcpyDeviceToHost);
  if (error != cudaSuccess || !after_) return error;
  error = after_(stream_);
  if (error != cudaSuccess) *refused = "the denoise step";
  return error;
}

// A launch with a shape that its kernel does not know is refused at once, before anything runs.
absl::Status CardForward::Capture() {
  TS_RETURN_IF_ERROR(ToStatus(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal),
                              "capturing a graph"));
  std::string refused;
  cudaError_t error = Launch(&refused);
  cudaGraph_t graph = nullptr;
  const cudaError_t ended = cudaStreamEndCapture(stream_, &graph);
  if (error == cudaErrorInvalidValue) {
    if (graph != nullptr) cudaGraphDestroy(graph);
    cudaGetLastError();
    return absl::UnimplementedError(absl::StrCat("the card's kernels do not know the shape of ",
                                                 refused,
                                                 " of this model; render it with device cpu"));
  }
  if (error == cudaSuccess && ended == cudaSuccess) {
    error = cudaGraphInstantiate(&captured_, graph, 0);
  }
  if (graph != nullptr) cudaGraphDestroy(graph);
  cudaGetLastError();
  if (error == cudaErrorMemoryAllocation) return ToStatus(error, "making a graph");
  return absl::OkStatus();
}

absl::Status CardForward::Start() {
  std::string refused;
  return ToStatus(captured_ != nullptr ? cudaGraphLaunch(captured_, stream_) : Launch(&refused),
                  "starting a forward");
}

absl::Status CardForward::Run() {
  TS_RETURN_IF_ERROR(Start());
  return ToStatus(cudaStreamSynchronize(stream_), "running a forward");
}

size_t CardForward::BytesOf(const Value& value) const {
  return value.shape.rows() * layout_.Stride(value) * layout_.ElementBytes(value);
}

absl::Status CardForward::Bind(const Value& input, int sample, const char* buffer,
                               uint64_t buffer_id) {
  uint64_t& bound = bound_[{input.tensor, sample}];
  if (bound == buffer_id) return absl::OkStatus();
  bound = buffer_id;
  return ToStatus(cudaMemcpyAsync(memory_.get() + layout_.Offset(input, sample), buffer,
                                  BytesOf(input), cudaMemcpyDeviceToDevice, stream_),
                  "binding a prompt");
}

absl::Status CardForward::CopyOut(const Value& output, int sample, char* to) const {
  TS_RETURN_IF_ERROR(ToStatus(cudaMemcpyAsync(to, memory_.get() + layout_.Offset(output, sample),
                                              BytesOf(output), cudaMemcpyDeviceToDevice, stream_),
                              "keeping an output"));
  return ToStatus(cudaStreamSynchronize(stream_), "keeping an output");
}

absl::StatusOr<std::vector<double>> CardForward::Profile(int runs, bool alone) {
  constexpr int kRepeats = 20;  // of an operation alone
  std::vector<double> seconds(graph_.nodes().size(), 0.0);
  std::vector<double> best(steps_.size(), std::numeric_limits<double>::infinity());
  std::vector<Event> events(steps_.size() + 1);
  TS_RETURN_IF_ERROR(ToStatus(Transfer(cudaMemcpyHostToDevice), "profiling"));
  const int repeats = alone ? kRepeats : 1;
  for (int run = 0; run < runs; ++run) {
    cudaEventRecord(events[0].get(), stream_);
    for (size_t i = 0; i < steps_.size(); ++i) {
      for (int j = 0; j < repeats; ++j) {
        TS_RETURN_IF_ERROR(ToStatus(steps_[i].launch(stream_), "profiling"));
      }
      cudaEventRecord(events[i + 1].get(), stream_);
    }
    TS_RETURN_IF_ERROR(ToStatus(cudaStreamSynchronize(stream_), "profiling"));
    for (size_t i = 0; i < steps_.size(); ++i) {
      float milliseconds = 0;
      cudaEventElapsedTime(&milliseconds, events[i].get(), events[i + 1].get());
      best[i] = std::min(best[i], milliseconds * 1e-3 / repeats);
    }
  }
  for (size_t i = 0; i < steps_.size(); ++i) seconds[steps_[i].node] += best[i];
  return seconds;
}

}  // namespace tiltshift::engine::cuda
