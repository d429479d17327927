#include "scheduler/guarded_stream.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/check.h"

namespace tiltshift::scheduler {
namespace {

using google::protobuf::Message;

const Message& PrototypeOf(std::string method) {
  method.erase(0, 1);
  std::replace(method.begin(), method.end(), '/', '.');
  const auto* described =
      google::protobuf::DescriptorPool::generated_pool()->FindMethodByName(method);
  TS_CHECK(described != nullptr);
  return *google::protobuf::MessageFactory::generated_factory()->GetPrototype(
      described->input_type());
}

class Guarded : public CallHandler {
 public:
  Guarded(std::shared_ptr<Call> call, const access::Gate& gate,
          std::shared_ptr<access::Admission> admission, std::shared_ptr<CallHandler> handler)
      : call_(std::move(call)),
        gate_(gate),
        admission_(std::move(admission)),
        handler_(std::move(handler)) {}

  absl::Status OnMessage(grpc::ByteBuffer& bytes) override {
    if (std::exchange(first_, false)) {
      TS_RETURN_IF_ERROR(AdmitFirst(bytes));
    } else {
      gate_.Count(*admission_, bytes.Length());
    }
    return handler_->OnMessage(bytes);
  }
  void OnLastMessage() override { handler_->OnLastMessage(); }
  void OnWritten() override { handler_->OnWritten(); }
  void OnOver() override { handler_->OnOver(); }

 private:
  absl::Status AdmitFirst(grpc::ByteBuffer& bytes) {
    const std::unique_ptr<Message> message(PrototypeOf(call_->method()).New());
    using Traits = grpc::SerializationTraits<Message>;
    if (!Traits::Deserialize(&bytes, message.get()).ok())
      return absl::InvalidArgumentError(
          absl::StrCat("the bytes of the message are no ", message->GetTypeName()));
    TS_RETURN_IF_ERROR(call_->Admitted(*message));
    bool own = false;
    TS_CHECK(Traits::Serialize(*message, &bytes, &own).ok());
    return absl::OkStatus();
  }

  const std::shared_ptr<Call> call_;
  const access::Gate& gate_;
  const std::shared_ptr<access::Admission> admission_;
  const std::shared_ptr<CallHandler> handler_;
  bool first_ = true;
};

}  // namespace

std::shared_ptr<CallHandler> GuardedStream(std::shared_ptr<Call> call, const access::Gate& gate,
                                           std::shared_ptr<access::Admission> admission,
                                           std::shared_ptr<CallHandler> handler) {
  const access::MethodRule* rule = admission->rule;
  const std::string_view looks_at[] = {rule->jobs, rule->tenants, rule->operators};
  const bool looks = std::any_of(std::begin(looks_at), std::end(looks_at),
                                 [](std::string_view fields) { return !fields.empty(); });
  if (!looks && !rule->uploads) return handler;
  return std::make_shared<Guarded>(std::move(call), gate, std::move(admission), std::move(handler));
}

}  // namespace tiltshift::scheduler
