#include "gallery/gallery.h"

#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "base/hash.h"
#include "gallery/api.h"
#include "gallery/farm_client.h"
#include "gallery/page_files.h"
#include "proto/channel.h"

namespace tiltshift::gallery {
namespace {

const HttpFields kEveryAnswer = {
    {"Content-Security-Policy",
     "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src "
     "'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; "
     "require-trusted-types-for 'script'; trusted-types 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"X-Frame-Options", "DENY"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"},
};
constexpr char kHsts[] = "max-age=31536000";

HttpResponse Plain(int status, const std::string& text) {
  HttpResponse response;
  response.status = status;
  response.headers = {{"Content-Type", "text/plain; charset=utf-8"}, {"Cache-Control", "no-store"}};
  response.body = text + "\n";
  return response;
}

std::string MediaTypeOf(std::string_view name) {
  if (absl::EndsWith(std::string(name), ".html")) return "text/html; charset=utf-8";
  if (absl::EndsWith(std::string(name), ".css")) return "text/css; charset=utf-8";
  if (absl::EndsWith(std::string(name), ".js")) return "text/javascript; charset=utf-8";
  return "image/svg+xml";
}

std::map<std::string, HttpResponse, std::less<>> Pages() {
  std::map<std::string, HttpResponse, std::less<>> pages;
  for (const PageFile& file : PageFiles()) {
    HttpResponse& page = pages[std::string(file.name)];
    page.headers = {{"ETag", absl::StrCat("\"", Sha256Hex(file.bytes).substr(0, 20), "\"")},
                    {"Content-Type", MediaTypeOf(file.name)},
                    {"Cache-Control", "no-cache"}};
    page.body = std::string(file.bytes);
  }
  return pages;
}

}  // namespace

Gallery::Gallery(GalleryOptions options, const Clock& clock)
    : options_(std::move(options)), pages_(Pages()), sessions_(clock), login_limits_(clock) {}

absl::StatusOr<std::unique_ptr<Gallery>> Gallery::Start(GalleryOptions options,
                                                        const Clock& clock) {
  std::unique_ptr<Gallery> gallery(new Gallery(std::move(options), clock));
  HttpOptions http;
  http.address = gallery->options_.address;
  http.tls_cert = gallery->options_.tls_cert;
  http.tls_key = gallery->options_.tls_key;
  http.headers = kEveryAnswer;
  if (!http.tls_cert.empty()) http.headers.emplace_back("Strict-Transport-Security", kHsts);
  TS_ASSIGN_OR_RETURN(
      gallery->server_,
      HttpServer::Start(std::move(http), [raw = gallery.get()](const auto& request) {
        return raw->Answer(request);
      }));
  return gallery;
}

std::string Gallery::url() const {
  return absl::StrCat(options_.tls_cert.empty() ? "http://" : "https://", server_->address(), "/");
}

std::vector<std::string> Gallery::Routes() {
  std::vector<std::string> routes = {"GET /api/me", "POST /api/login", "POST /api/logout"};
  for (const ApiRoute& route : ApiRoutes())
    routes.push_back(absl::StrCat(route.method, " /api/", route.pattern));
  return routes;
}

HttpResponse Gallery::Answer(const HttpRequest& request) {
  const std::string host = request.Header("host");
  const std::string with_port = host.find(':') == std::string::npos ? host + ":80" : host;
  if (!options_.asks_callers && (!IsLoopback(with_port) || absl::StartsWith(with_port, "unix:"))) {
    return Plain(421,
                 "this gallery asks nobody who they are, so it is for this machine alone: "
                 "open it as 127.0.0.1 or localhost");
  }
  if (request.path.empty() || request.path[0] != "api") return AnswerPage(request);
  return AnswerApi(request);
}

HttpResponse Gallery::AnswerPage(const HttpRequest& request) const {
  if (request.method == "POST") {
    HttpResponse response = Plain(405, "pages are only read");
    response.headers.emplace_back("Allow", "GET, HEAD");
    return response;
  }
  const auto page = pages_.find(request.path.empty() ? "index.html" : request.path[0]);
  if (request.path.size() > 1 || page == pages_.end()) return Plain(404, "there is no such page");
  HttpResponse response = page->second;
  if (request.Header("if-none-match") == response.headers[0].second) {
    response.status = 304;
    response.body.clear();
  }
  return response;
}

HttpResponse Gallery::AnswerApi(const HttpRequest& request) {
  const std::string site = request.Header("sec-fetch-site");
  const std::string origin = request.Header("origin");
  const std::string own =
      absl::StrCat(options_.tls_cert.empty() ? "http://" : "https://", request.Header("host"));
  const bool reads = request.method != "POST";
  const bool from_us = (site.empty() || site == "same-origin" || (reads && site == "none")) &&
                       (origin.empty() || origin == own);
  const bool by_script = request.Header("x-tiltshift") == "1" &&
                         absl::StartsWith(request.Header("content-type"), "application/json");
  if (!from_us || (!reads && !by_script)) {
    return ErrorResponse(
        absl::PermissionDeniedError("this was not asked by the gallery's own page"));
  }
  const std::vector<std::string> path(request.path.begin() + 1, request.path.end());
  if (path == std::vector<std::string>{"me"} && reads) return Me(request);
  if (path == std::vector<std::string>{"login"} && !reads) return LogIn(request);
  if (path == std::vector<std::string>{"logout"} && !reads) return LogOut(request);
  std::string token;
  if (options_.asks_callers) {
    const auto known = sessions_.TokenOf(SessionOf(request));
    if (!known.has_value()) return ErrorResponse(absl::UnauthenticatedError("log in first"));
    token = *known;
  }
  return AnswerRoute(
      {request, path, std::make_shared<FarmClient>(options_.farm, std::move(token), request.peer)});
}

HttpResponse Gallery::Me(const HttpRequest& request) {
  std::optional<std::string> token = std::string();
  if (options_.asks_callers) token = sessions_.TokenOf(SessionOf(request));
  nlohmann::json me = {{"asks", options_.asks_callers}, {"signed_in", false}};
  if (const auto leader = options_.elsewhere(); leader.has_value()) {
    me["stands_by"] = true;
    me["leader"] = *leader;
    token.reset();
  }
  if (!token.has_value()) return JsonResponse(me.dump());
  FarmClient farm(options_.farm, *token, request.peer);
  const auto who = farm.Call(&v1::Tokens::Stub::WhoAmI, v1::WhoAmIRequest());
  if (absl::IsUnauthenticated(who.status())) {
    sessions_.Close(SessionOf(request));
    return JsonResponse(me.dump());
  }
  if (!who.ok()) return ErrorResponse(who.status());
  me["signed_in"] = true;
  me["token"] = nlohmann::json::parse(JsonOf(*who), nullptr, /*allow_exceptions=*/false);
  return JsonResponse(me.dump());
}

HttpResponse Gallery::LogIn(const HttpRequest& request) {
  if (!options_.asks_callers)
    return ErrorResponse(absl::FailedPreconditionError("nobody has to log in here"));
  if (!login_limits_.Take(request.peer)) {
    return ErrorResponse(
        absl::ResourceExhaustedError("too many have tried to log in; wait a minute"));
  }
  v1::CreateTokenResponse given;
  if (const absl::Status read = FromJson(request.body, given); !read.ok())
    return ErrorResponse(read);
  const std::string& secret = given.secret();
  const bool text =
      !secret.empty() && secret.size() < 200 &&
      secret.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string::npos;
  if (!text) return ErrorResponse(absl::UnauthenticatedError("that is no token: \"ts_...\""));
  FarmClient farm(options_.farm, secret, request.peer);
  const auto who = farm.Call(&v1::Tokens::Stub::WhoAmI, v1::WhoAmIRequest());
  if (!who.ok()) return ErrorResponse(who.status());
  bool sees = false;
  for (const int role : who->roles()) sees = sees || role != v1::ROLE_WORKER;
  if (!sees) {
    return ErrorResponse(
        absl::PermissionDeniedError("this token is a worker's: it has nothing to look at"));
  }
  sessions_.Close(SessionOf(request));
  HttpResponse response = JsonResponse(JsonOf(*who));
  response.headers.emplace_back("Set-Cookie", Cookie(sessions_.Open(secret)));
  return response;
}

HttpResponse Gallery::LogOut(const HttpRequest& request) {
  sessions_.Close(SessionOf(request));
  HttpResponse response = JsonResponse("{}");
  response.headers.emplace_back("Set-Cookie", Cookie(""));
  response.headers.emplace_back("Clear-Site-Data", "\"cache\"");
  return response;
}

// Browsers tell no ports apart, and more than one gallery may be on a machine.
std::string Gallery::CookieName() const {
  if (!options_.tls_cert.empty()) return "__Host-tiltshift";
  const std::string& address = server_->address();
  return absl::StrCat("tiltshift-", address.substr(address.rfind(':') + 1));
}

std::string Gallery::Cookie(const std::string& id) const {
  return absl::StrCat(CookieName(), "=", id, "; Path=/; HttpOnly; SameSite=Strict",
                      options_.tls_cert.empty() ? "" : "; Secure", id.empty() ? "; Max-Age=0" : "");
}

std::string Gallery::SessionOf(const HttpRequest& request) const {
  const std::string name = CookieName() + "=";
  for (const absl::string_view cookie : absl::StrSplit(request.Header("cookie"), "; "))
    if (absl::StartsWith(cookie, name)) return std::string(cookie.substr(name.size()));
  return "";
}

}  // namespace tiltshift::gallery
