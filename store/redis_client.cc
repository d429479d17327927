#include "store/redis_client.h"

#include <hiredis/hiredis.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "store/redis_socket.h"

namespace tiltshift::store {
namespace {

RedisReply Convert(const redisReply& reply) {
  RedisReply out;
  switch (reply.type) {
    case REDIS_REPLY_INTEGER:
      out.kind = RedisReply::Kind::kInteger;
      out.integer = reply.integer;
      break;
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
      out.kind = RedisReply::Kind::kString;
      out.text.assign(reply.str, reply.len);
      break;
    case REDIS_REPLY_ERROR:
      out.kind = RedisReply::Kind::kError;
      out.text.assign(reply.str, reply.len);
      break;
    case REDIS_REPLY_ARRAY:
      out.kind = RedisReply::Kind::kArray;
      out.items.reserve(reply.elements);
      for (size_t i = 0; i < reply.elements; ++i) out.items.push_back(Convert(*reply.element[i]));
      break;
    default:
      break;
  }
  return out;
}

// The server is not, or no longer, the one to write to.
bool IsReplica(const RedisReply& reply) {
  return reply.kind == RedisReply::Kind::kError && absl::StrContains(reply.text, "READONLY");
}

constexpr int kSentinelTimeoutMs = 1'000;
constexpr size_t kReadBytes = 64 << 10;

}  // namespace

RedisPipeline::RedisPipeline(const std::vector<RedisCommand>& commands) {
  for (const RedisCommand& command : commands) {
    Begin(command.size(), "");
    for (const std::string& word : command) Add(word);
  }
}

void RedisPipeline::Begin(size_t words, const std::string& function) {
  absl::StrAppend(&text_, "*", words, "\r\n");
  functions_.push_back(function);
}

void RedisPipeline::Add(std::string_view word) {
  absl::StrAppend(&text_, "$", word.size(), "\r\n");
  text_.append(word);
  text_.append("\r\n");
}

// A socket and hiredis' parser of what comes out of it.
struct RedisClient::Connection {
  explicit Connection(std::unique_ptr<RedisSocket> s)
      : socket(std::move(s)), reader(redisReaderCreate()), buffer(kReadBytes) {}
  ~Connection() { redisReaderFree(reader); }

  absl::StatusOr<RedisReply> Read() {
    for (;;) {
      void* reply = nullptr;
      if (redisReaderGetReply(reader, &reply) != REDIS_OK) {
        return absl::UnavailableError(
            absl::StrCat("this is no Redis: ", std::string(reader->errstr)));
      }
      if (reply != nullptr) {
        RedisReply out = Convert(*static_cast<redisReply*>(reply));
        freeReplyObject(reply);
        return out;
      }
      TS_ASSIGN_OR_RETURN(const size_t got, socket->Read(buffer.data(), buffer.size()));
      if (redisReaderFeed(reader, buffer.data(), got) != REDIS_OK)
        return absl::UnavailableError("out of memory");
    }
  }

  absl::StatusOr<std::vector<RedisReply>> Exchange(const RedisPipeline& pipeline) {
    TS_RETURN_IF_ERROR(socket->Write(pipeline.text()));
    std::vector<RedisReply> replies;
    replies.reserve(pipeline.functions().size());
    for (size_t i = 0; i < pipeline.functions().size(); ++i) {
      TS_ASSIGN_OR_RETURN(replies.emplace_back(), Read());
    }
    return replies;
  }

  const std::unique_ptr<RedisSocket> socket;
  redisReader* const reader;
  std::vector<char> buffer;
};

RedisClient::RedisClient(RedisAddress address, const Options& options)
    : address_(std::move(address)),
      shown_(address_.Shown()),
      timeout_ms_(options.timeout_ms),
      clock_(options.clock),
      backoff_({}, options.seed) {
  // OpenSSL writes without MSG_NOSIGNAL: a server that died must be an error, not this process'
  // end.
  std::signal(SIGPIPE, SIG_IGN);
}
RedisClient::~RedisClient() = default;

absl::Status RedisClient::Broken(const absl::Status& why) {
  connection_.reset();
  const absl::Status status = Annotate(why, "Redis at " + shown_);
  if (!absl::IsUnavailable(why)) return status;
  return absl::UnavailableError(
      absl::StrCat(status.message(), "; is redis-server running, and is the address right?"));
}

int64_t RedisClient::RetryInMs() const {
  return connection_ != nullptr ? 0 : std::max<int64_t>(0, retry_at_ms_ - clock_.SteadyMs());
}

absl::Status RedisClient::EnsureConnected() {
  if (connection_ != nullptr) return absl::OkStatus();
  if (RetryInMs() > 0) return refused_;
  refused_ = Connect();
  if (refused_.ok()) refused_ = LogIn();
  if (refused_.ok() && !address_.sentinels.empty()) refused_ = CheckMaster();
  if (refused_.ok()) {
    backoff_.Reset();
    ++connections_;
  } else {
    connection_.reset();
    retry_at_ms_ = clock_.SteadyMs() + backoff_.NextMs();
  }
  return refused_;
}

absl::Status RedisClient::Connect() {
  RedisAddress server = address_;
  if (!address_.sentinels.empty()) {
    TS_ASSIGN_OR_RETURN(server, FindMaster());
    shown_ = absl::StrCat(server.Shown(), " (", address_.Shown(), ")");
  }
  auto socket = OpenRedisSocket(server, timeout_ms_);
  if (!socket.ok()) return Broken(socket.status());
  connection_ = std::make_unique<Connection>(*std::move(socket));
  return absl::OkStatus();
}

// What the first sentinel that answers says. It may name a server that is gone, until the sentinels
// have agreed on another: the caller tries again.
absl::StatusOr<RedisAddress> RedisClient::FindMaster() {
  absl::Status status;
  for (const RedisAddress& sentinel : address_.sentinels) {
    const auto ask = [&]() -> absl::StatusOr<RedisReply> {
      TS_ASSIGN_OR_RETURN(auto socket,
                          OpenRedisSocket(sentinel, std::min(timeout_ms_, kSentinelTimeoutMs)));
      Connection connection(std::move(socket));
      TS_ASSIGN_OR_RETURN(auto replies,
                          connection.Exchange(RedisPipeline(std::vector<RedisCommand>{
                              {"SENTINEL", "get-master-addr-by-name", address_.master}})));
      if (replies[0].kind == RedisReply::Kind::kError)
        return absl::UnavailableError(replies[0].text);
      return std::move(replies[0]);
    };
    const auto answer = ask();
    RedisAddress server;
    if (!answer.ok()) {
      status = Annotate(answer.status(), "the sentinel at " + sentinel.Shown());
    } else if (answer->items.size() != 2 ||
               !absl::SimpleAtoi(answer->items[1].text, &server.port)) {
      status = absl::UnavailableError(absl::StrCat("the sentinel at ", sentinel.Shown(),
                                                   " knows no master \"", address_.master, "\""));
    } else {
      server.host = answer->items[0].text;
      return server;
    }
  }
  return absl::UnavailableError(absl::StrCat("Redis by ", address_.Shown(), ": ", status.message(),
                                             "; no other sentinel knows more"));
}

// A sentinel may still name the last master, which is back as a replica of the next one.
absl::Status RedisClient::CheckMaster() {
  TS_ASSIGN_OR_RETURN(const auto replies,
                      Exchange(RedisPipeline(std::vector<RedisCommand>{{"INFO", "replication"}})));
  if (replies[0].kind == RedisReply::Kind::kError) return ErrorOf(replies[0]);
  if (absl::StrContains(replies[0].text, "role:master")) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("Redis at ", shown_, " is no master; a fail-over is under way"));
}

absl::Status RedisClient::LogIn() {
  std::vector<RedisCommand> commands;
  if (!address_.password.empty()) {
    commands.push_back({"AUTH"});
    if (!address_.user.empty()) commands.back().push_back(address_.user);
    commands.back().push_back(address_.password);
  }
  if (address_.database != 0) commands.push_back({"SELECT", std::to_string(address_.database)});
  if (commands.empty()) return absl::OkStatus();
  TS_ASSIGN_OR_RETURN(const auto replies, Exchange(RedisPipeline(commands)));
  for (size_t i = 0; i < replies.size(); ++i) {
    if (replies[i].kind != RedisReply::Kind::kError) continue;
    const absl::Status error = ErrorOf(replies[i]);
    if (absl::IsUnavailable(error) || absl::IsPermissionDenied(error))
      return Annotate(error, "Redis at " + shown_);
    return absl::PermissionDeniedError(
        absl::StrCat("Redis at ", shown_, ": ", commands[i][0], " was refused: ", replies[i].text));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<RedisReply>> RedisClient::RunPipeline(const RedisPipeline& pipeline) {
  TS_RETURN_IF_ERROR(EnsureConnected());
  const auto start = std::chrono::steady_clock::now();
  auto replies = Exchange(pipeline);
  if (!replies.ok()) return replies;
  // The next call asks anew which server it is.
  if (std::any_of(replies->begin(), replies->end(), IsReplica)) connection_.reset();
  TellRoundTrip(pipeline,
                std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  return replies;
}

absl::StatusOr<std::vector<RedisReply>> RedisClient::Exchange(const RedisPipeline& pipeline) {
  auto replies = connection_->Exchange(pipeline);
  if (!replies.ok()) return Broken(replies.status());
  return replies;
}

void RedisClient::TellRoundTrip(const RedisPipeline& pipeline, double seconds) const {
  if (round_trip_ == nullptr) return;
  const std::set<std::string> functions(pipeline.functions().begin(), pipeline.functions().end());
  for (const std::string& function : functions) round_trip_(function, seconds);
}

absl::StatusOr<RedisReply> RedisClient::Run(const RedisCommand& command) {
  TS_ASSIGN_OR_RETURN(auto replies, RunAll({command}));
  if (replies[0].kind == RedisReply::Kind::kError)
    return Annotate(ErrorOf(replies[0]), "Redis at " + shown_);
  return std::move(replies[0]);
}

absl::Status ErrorOf(const RedisReply& reply) {
  if (absl::StrContains(reply.text, "No space left on device")) {
    return absl::UnavailableError(
        absl::StrCat(reply.text, "; free some space on the disk that holds Redis' file"));
  }
  for (const char* refusal : {"NOAUTH", "WRONGPASS", "NOPERM"}) {
    if (!absl::StartsWith(reply.text, refusal)) continue;
    return absl::PermissionDeniedError(absl::StrCat(
        reply.text, "; user and password come with redis://USER:PASSWORD@HOST, or from ",
        "TILTSHIFT_REDIS_USER and TILTSHIFT_REDIS_PASSWORD"));
  }
  for (const char* passing : {"LOADING", "BUSY", "MISCONF", "OOM", "READONLY", "NOREPLICAS",
                              "MASTERDOWN", "CLUSTERDOWN"}) {
    // Redis 6 puts its own words before those of what a script called.
    if (absl::StartsWith(reply.text, passing) ||
        absl::StrContains(reply.text, absl::StrCat("-", passing, " ")))
      return absl::UnavailableError(reply.text);
  }
  if (absl::StrContains(reply.text, "STALE_EPOCH"))
    return absl::FailedPreconditionError(reply.text);
  return absl::InternalError(reply.text);
}

}  // namespace tiltshift::store
