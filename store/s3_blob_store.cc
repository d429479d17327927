#include "store/s3_blob_store.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "base/hash.h"
#include "store/http_client.h"
#include "store/percent.h"
#include "store/s3_answers.h"

namespace tiltshift::store {
namespace {

constexpr char kProbe[] = ".tiltshift-blobs";
constexpr char kShaHeader[] = "x-amz-meta-sha256";
constexpr char kWriterHeader[] = "x-amz-meta-tiltshift-put";
constexpr size_t kLongestObjectKey = 1024;

bool MayBeTriedAgain(const HttpResponse& response, const S3Error& error) {
  switch (response.status) {
    case 408:
    case 409:  // conditional creates that met
    case 429:
    case 500:
    case 502:
    case 503:
    case 504:
      return true;
    default:
      return error.code == "RequestTimeout";
  }
}

// What a person is to do, for the answers that another try does not mend.
absl::Status Refusal(int status, const std::string& code, const std::string& what) {
  const auto denied = [&](const char* todo) {
    return absl::PermissionDeniedError(absl::StrCat(what, "; ", todo));
  };
  if (code == "NoSuchBucket") return denied("make the bucket, or name another in --blobs");
  if (code == "InvalidAccessKeyId" || code == "SignatureDoesNotMatch" || code == "ExpiredToken" ||
      code == "InvalidToken" || status == 401)
    return denied("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to a pair that it knows");
  if (code == "RequestTimeTooSkewed") return denied("set this machine's clock");
  if (status == 403)
    return denied("these credentials need s3:GetObject, PutObject, DeleteObject and ListBucket");
  if (status == 301 || status == 307 || code == "AuthorizationHeaderMalformed")
    return denied("the bucket is in another region: set --s3-region and --s3-endpoint to its own");
  if (status == 507) return absl::ResourceExhaustedError(absl::StrCat(what, "; make room in it"));
  if (status == 404) return absl::NotFoundError(what);
  return absl::InternalError(absl::StrCat(what, "; is the endpoint an S3 server?"));
}

class S3BlobStore : public BlobStore {
 public:
  S3BlobStore(S3Address address, const S3Options& options)
      : address_(std::move(address)),
        options_(options),
        http_({.origin = address_.endpoint,
               .region = address_.region,
               .access_key = address_.access_key,
               .secret_key = address_.secret_key,
               .ca_bundle = address_.ca_bundle,
               .connect_timeout_ms = options.connect_timeout_ms,
               .stall_seconds = options.stall_seconds,
               .most_bytes = options.most_bytes}) {}

  absl::Status Probe();

  absl::StatusOr<bool> PutIfAbsent(const std::string& key, std::string_view bytes) override;
  absl::StatusOr<std::string> Get(const std::string& key) override;
  absl::StatusOr<bool> Exists(const std::string& key) override;
  absl::StatusOr<std::vector<std::string>> ListSome(const std::string& prefix,
                                                    size_t most) override;
  absl::Status Delete(const std::string& key) override;

  void Interrupt() override {
    http_.Interrupt();
    std::lock_guard lock(mutex_);
    interrupted_.notify_all();
  }

 private:
  absl::Status CheckKey(const std::string& key) const;
  std::string ObjectKey(const std::string& key) const {
    return address_.prefix.empty() ? key : absl::StrCat(address_.prefix, "/", key);
  }
  std::string ObjectPath(const std::string& key) const {
    return absl::StrCat("/", address_.bucket, "/", PercentEncoded(ObjectKey(key), true));
  }
  // "get s3://bucket/prefix/key at http://host:port"
  std::string Named(const std::string& verb, const std::string& key) const {
    return absl::StrCat(verb, " s3://", address_.bucket, "/", ObjectKey(key), " at ",
                        address_.endpoint);
  }
  // The first answer that is one of `wanted`; else the status of whatever ended the tries.
  absl::StatusOr<HttpResponse> Ask(HttpRequest request, const std::string& name,
                                   const std::vector<int>& wanted);
  bool Wait(int64_t ms);  // false: interrupted

  const S3Address address_;
  const S3Options options_;
  HttpClient http_;
  std::mutex mutex_;
  std::condition_variable interrupted_;
};

absl::Status S3BlobStore::CheckKey(const std::string& key) const {
  TS_RETURN_IF_ERROR(CheckBlobKey(key));
  if (ObjectKey(key).size() <= kLongestObjectKey) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("\"", ObjectKey(key), "\" is longer than the ", kLongestObjectKey,
                   " bytes of an S3 key; shorten the prefix in --blobs, or output.name"));
}

bool S3BlobStore::Wait(int64_t ms) {
  std::unique_lock lock(mutex_);
  return !interrupted_.wait_for(lock, std::chrono::milliseconds(ms),
                                [this] { return http_.interrupted(); });
}

absl::StatusOr<HttpResponse> S3BlobStore::Ask(HttpRequest request, const std::string& name,
                                              const std::vector<int>& wanted) {
  if (!address_.session_token.empty())
    request.headers["x-amz-security-token"] = address_.session_token;
  Backoff backoff(options_.waits, RandomSeed());
  const int64_t start_ms = RealClock().SteadyMs();
  for (int tries = 1;; ++tries) {
    auto response = http_.Send(request);
    std::string why;
    if (response.ok()) {
      if (std::count(wanted.begin(), wanted.end(), response->status) > 0) return response;
      const S3Error error = ParseS3Error(response->body);
      why = absl::StrCat("HTTP ", response->status, error.code.empty() ? "" : " ", error.code,
                         error.message.empty() ? "" : ": ", error.message);
      if (!MayBeTriedAgain(*response, error))
        return Refusal(response->status, error.code, absl::StrCat(name, ": ", why));
    } else {
      if (!absl::IsUnavailable(response.status())) return Annotate(response.status(), name);
      why = Message(response.status());
    }
    const int64_t wait_ms = backoff.NextMs();
    const int64_t spent_ms = RealClock().SteadyMs() - start_ms;
    if (spent_ms + wait_ms > options_.patience_ms || !Wait(wait_ms)) {
      return absl::UnavailableError(absl::StrFormat(
          "%s: %s; given up after %d tries in %.1f s: is the server up, and reached from here?",
          name, why, tries, static_cast<double>(spent_ms) / 1e3));
    }
  }
}

absl::Status S3BlobStore::Probe() {
  // The second create is there to be refused.
  TS_ASSIGN_OR_RETURN(const bool created, PutIfAbsent(kProbe, "a blob store of Tiltshift\n"));
  if (!created) return absl::OkStatus();
  TS_ASSIGN_OR_RETURN(const bool again, PutIfAbsent(kProbe, "a blob store of Tiltshift\n"));
  if (!again) return absl::OkStatus();
  return absl::UnimplementedError(absl::StrCat(
      address_.Shown(),
      ": the server writes over what is there although asked not to (If-None-Match: *), so that "
      "one attempt could damage another's picture; take one that has conditional writes"));
}

absl::StatusOr<bool> S3BlobStore::PutIfAbsent(const std::string& key, std::string_view bytes) {
  TS_RETURN_IF_ERROR(CheckKey(key));
  const std::string name = Named("put", key), writer = RandomHex(16);
  TS_ASSIGN_OR_RETURN(const HttpResponse put,
                      Ask({.method = "PUT",
                           .path = ObjectPath(key),
                           .headers = {{"content-type", "application/octet-stream"},
                                       {"if-none-match", "*"},
                                       {kShaHeader, Sha256Hex(bytes)},
                                       {kWriterHeader, writer}},
                           .body = bytes},
                          name, {200, 412}));
  if (put.status == 200) return true;
  // There is one. Ours, where an earlier try came through (libcurl makes one again by itself when a
  // kept connection turns out to be closed).
  TS_ASSIGN_OR_RETURN(const HttpResponse head,
                      Ask({.method = "HEAD", .path = ObjectPath(key)}, name, {200, 404}));
  if (head.status == 404) {
    return absl::UnavailableError(
        absl::StrCat(name, ": it was there and was deleted meanwhile; try again"));
  }
  const auto word = head.headers.find(kWriterHeader);
  return word != head.headers.end() && word->second == writer;
}

absl::StatusOr<std::string> S3BlobStore::Get(const std::string& key) {
  TS_RETURN_IF_ERROR(CheckKey(key));
  const std::string name = Named("get", key);
  TS_ASSIGN_OR_RETURN(HttpResponse got,
                      Ask({.method = "GET", .path = ObjectPath(key)}, name, {200}));
  const auto sha = got.headers.find(kShaHeader);
  if (sha != got.headers.end() && sha->second != Sha256Hex(got.body)) {
    return absl::DataLossError(absl::StrCat(name, ": its bytes have SHA-256 ", Sha256Hex(got.body),
                                            ", not the ", sha->second, " they were written with"));
  }
  return std::move(got.body);
}

absl::StatusOr<bool> S3BlobStore::Exists(const std::string& key) {
  TS_RETURN_IF_ERROR(CheckKey(key));
  TS_ASSIGN_OR_RETURN(const HttpResponse head, Ask({.method = "HEAD", .path = ObjectPath(key)},
                                                   Named("look at", key), {200, 404}));
  return head.status == 200;
}

absl::StatusOr<std::vector<std::string>> S3BlobStore::ListSome(const std::string& prefix,
                                                               size_t most) {
  TS_RETURN_IF_ERROR(CheckBlobFolder(prefix));
  const std::string name = Named("list", prefix);
  const size_t cut = ObjectKey("").size();
  std::vector<std::string> keys;
  for (std::string token;;) {
    const std::string query = absl::StrCat(
        token.empty() ? "" : absl::StrCat("continuation-token=", PercentEncoded(token, false), "&"),
        "encoding-type=url&list-type=2&max-keys=", std::min<size_t>(options_.page_keys, most),
        "&prefix=", PercentEncoded(ObjectKey(prefix), false));
    TS_ASSIGN_OR_RETURN(
        const HttpResponse answer,
        Ask({.method = "GET", .path = absl::StrCat("/", address_.bucket), .query = query}, name,
            {200}));
    const auto page = ParseS3Page(answer.body);
    if (!page.ok()) return Annotate(page.status(), name);
    for (const std::string& key : page->keys) {
      if (!absl::StartsWith(key, ObjectKey(prefix)))
        return absl::DataLossError(absl::StrCat(name, ": the listing holds \"", key, "\""));
      if (CheckBlobKey(key.substr(cut)).ok()) keys.push_back(key.substr(cut));  // no "folder/"
    }
    if (page->next.empty() || keys.size() >= most) break;
    if (page->next == token)
      return absl::DataLossError(absl::StrCat(name, ": the listing goes in a circle"));
    token = page->next;
  }
  if (keys.size() > most) keys.resize(most);
  std::sort(keys.begin(), keys.end());
  return keys;
}

absl::Status S3BlobStore::Delete(const std::string& key) {
  TS_RETURN_IF_ERROR(CheckKey(key));
  const absl::Status deleted =
      Ask({.method = "DELETE", .path = ObjectPath(key)}, Named("delete", key), {200, 204}).status();
  return absl::IsNotFound(deleted) ? absl::OkStatus() : deleted;
}

}  // namespace

absl::StatusOr<std::unique_ptr<BlobStore>> OpenS3BlobStore(S3Address address,
                                                           const S3Options& options) {
  const std::string shown = address.Shown();
  auto store = std::make_unique<S3BlobStore>(std::move(address), options);
  if (const absl::Status probed = store->Probe(); !probed.ok())
    return Annotate(probed, absl::StrCat("the blob store ", shown, " can't be used"));
  return store;
}

}  // namespace tiltshift::store
