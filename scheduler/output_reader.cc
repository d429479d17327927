#include "scheduler/output_reader.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <limits>
#include <map>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "scheduler/call_server.h"

namespace tiltshift::scheduler {
namespace {

constexpr size_t kPieceBytes = 1 << 20;  // below gRPC's limit of 4 MB a message
constexpr size_t kReaders = 16;

// The variants that a manifest part tells of, first and last, by its name: "7-7-123.jsonl". All, of
// another name.
std::pair<uint64_t, uint64_t> PartOf(const std::string& name) {
  const std::vector<std::string> numbers = absl::StrSplit(name, '-');
  uint64_t from = 0, to = 0;
  if (numbers.size() == 3 && absl::SimpleAtoi(numbers[0], &from) &&
      absl::SimpleAtoi(numbers[1], &to))
    return {from, to};
  return {0, std::numeric_limits<uint64_t>::max()};
}

// The blobs of `keys`, in their order, several at once: another machine's may be a round trip each.
absl::StatusOr<std::vector<std::string>> GetAll(store::BlobStore& blobs,
                                                const std::vector<std::string>& keys) {
  std::vector<absl::StatusOr<std::string>> got(keys.size(), std::string());
  {
    BlobThreads readers(static_cast<int>(std::min(kReaders, keys.size())));
    for (size_t i = 0; i < keys.size(); ++i) readers.Run([&, i] { got[i] = blobs.Get(keys[i]); });
  }
  std::vector<std::string> all;
  for (auto& bytes : got) {
    if (!bytes.ok()) return bytes.status();
    all.push_back(std::move(*bytes));
  }
  return all;
}

}  // namespace

OutputReader::OutputReader(std::shared_ptr<Call> call, FarmLoop& loop, store::BlobStore& blobs,
                           BlobThreads& threads, monitoring::Histogram seconds)
    : timer_(seconds), call_(std::move(call)), loop_(loop), blobs_(blobs), threads_(threads) {}

absl::Status OutputReader::OnMessage(grpc::ByteBuffer& message) {
  TS_ASSIGN_OR_RETURN(request_, Parse<v1::ReadOutputsRequest>(message));
  TS_ASSIGN_OR_RETURN(const JobView job, loop_.FindJob(request_.job_id()));
  if (request_.range().first() > job->variants()) {
    return absl::OutOfRangeError(absl::StrCat("range.first: job ", request_.job_id(), " has ",
                                              job->variants(), " variants, no ",
                                              request_.range().first()));
  }
  threads_.Run([self = shared_from_this()] {
    const absl::Status status = self->ReadManifest();
    if (!status.ok()) return self->call_->Finish(status);
    self->SendNext();
  });
  return absl::OkStatus();
}

// Attempts may have left several lines for a variant: their bytes are the same (I4), so the first
// will do.
absl::Status OutputReader::ReadManifest() {
  const uint64_t first = request_.range().first();
  const uint64_t count = request_.range().count();
  const std::string folder = absl::StrCat("jobs/", request_.job_id(), "/manifest/");
  TS_ASSIGN_OR_RETURN(auto keys, blobs_.List(folder));
  std::erase_if(keys, [&](const std::string& key) {
    const auto [from, to] = PartOf(key.substr(folder.size()));
    return to < first || (count != 0 && from >= first && from - first >= count);
  });
  TS_ASSIGN_OR_RETURN(const auto parts, GetAll(blobs_, keys));
  std::map<uint64_t, v1::OutputInfo> by_index;
  for (size_t i = 0; i < parts.size(); ++i) {
    for (const absl::string_view line : absl::StrSplit(parts[i], '\n', absl::SkipEmpty())) {
      v1::OutputInfo info;
      if (!google::protobuf::util::JsonStringToMessage(std::string(line), &info).ok()) {
        return absl::DataLossError(
            absl::StrCat("manifest part ", keys[i], " holds a damaged line"));
      }
      const uint64_t index = info.index();
      if (index >= first && (count == 0 || index - first < count))
        by_index.emplace(index, std::move(info));
    }
  }
  for (auto& [index, info] : by_index) infos_.push_back(std::move(info));
  return absl::OkStatus();
}

absl::Status OutputReader::Next() {
  piece_.Clear();
  if (sent_ < bytes_.size()) {
    piece_.set_data(bytes_.substr(sent_, kPieceBytes));
    sent_ += piece_.data().size();
    return absl::OkStatus();
  }
  if (infos_.empty()) return absl::OkStatus();
  *piece_.mutable_info() = std::move(infos_.front());
  infos_.pop_front();
  bytes_.clear();
  sent_ = 0;
  if (request_.info_only()) return absl::OkStatus();
  TS_ASSIGN_OR_RETURN(bytes_, blobs_.Get(absl::StrCat("jobs/", request_.job_id(), "/outputs/",
                                                      piece_.info().name())));
  return absl::OkStatus();
}

void OutputReader::OnWritten() {
  if (sent_ < bytes_.size()) return SendNext();
  threads_.Run([self = shared_from_this()] { self->SendNext(); });
}

void OutputReader::SendNext() {
  const absl::Status status = Next();
  if (!status.ok() || piece_.piece_case() == v1::OutputPiece::PIECE_NOT_SET) {
    call_->Finish(status);
  } else {
    call_->Write(piece_);
  }
}

}  // namespace tiltshift::scheduler
