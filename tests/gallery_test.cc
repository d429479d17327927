// The gallery of a farm with tokens and TLS: every address by everybody, and what others than its
// own page might send.
#include "gallery/gallery.h"

#include <gmock/gmock.h>

#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "tests/support/guarded_farm.h"
#include "tests/support/web_client.h"

namespace tiltshift::tests {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// Who may ask what: written once more, apart from the code that is tested.
const std::map<std::string, std::string> kMayAsk = {
    {"GET /api/jobs", "read operate"},
    {"GET /api/jobs/*", "submit read operate"},
    {"GET /api/jobs/*/variants", "submit read operate"},
    {"GET /api/jobs/*/variants/*", "submit read operate"},
    {"GET /api/jobs/*/variants/*/explain", "submit read operate"},
    {"GET /api/jobs/*/pictures/*", "submit read operate"},
    {"GET /api/jobs/*/pictures.zip", "submit read operate"},
    {"GET /api/jobs/*/entries", "submit read operate"},
    {"GET /api/jobs/*/explain", "submit read operate"},
    {"POST /api/jobs/*/pause", "submit operate"},
    {"POST /api/jobs/*/resume", "submit operate"},
    {"POST /api/jobs/*/cancel", "submit operate"},
    {"POST /api/jobs/*/retry", "submit operate"},
    {"POST /api/jobs/*/priority", "submit operate"},
    {"POST /api/jobs/*/like", "submit operate"},
    {"GET /api/jobs/*/live", "submit read operate"},
    {"GET /api/live/jobs", "read operate"},
    {"GET /api/live/workers", "operate"},
    {"GET /api/workers", "operate"},
    {"GET /api/workers/*/explain", "operate"},
};
const std::set<std::string> kForAll = {"GET /api/me", "POST /api/login", "POST /api/logout"};
const std::map<std::string, v1::Role> kRoles = {
    {"submit", v1::ROLE_SUBMIT}, {"read", v1::ROLE_READ}, {"operate", v1::ROLE_OPERATE}};
constexpr char kNoJob[] = "j000000000000000";

class GalleryTest : public GuardedFarmTest {
 protected:
  void SetUp() override {
    more_ = {"--gallery", "127.0.0.1:" + std::to_string(port_)};
    GuardedFarmTest::SetUp();
    if (HasFatalFailure()) return;
    for (const auto& [name, role] : kRoles) {
      brand_[name] = LogIn(Create("brand", {role}).secret());
      contest_[name] = LogIn(Create("contest", {role}).secret());
    }
    submit_ = Create("brand", {v1::ROLE_SUBMIT}).secret();
    job_ = Submit(submit_);
  }
  // As our own page sends it.
  WebClient::Fields Ours(const std::string& cookie) const {
    WebClient::Fields fields = {{"X-Tiltshift", "1"},
                                {"Content-Type", "application/json"},
                                {"Origin", "https://localhost:" + std::to_string(port_)},
                                {"Sec-Fetch-Site", "same-origin"}};
    if (!cookie.empty()) fields["Cookie"] = "other=1; " + cookie;
    return fields;
  }
  WebAnswer TryToLogIn(const std::string& secret) const {
    return web_.Ask("POST", "/api/login", Ours(""), "{\"secret\":\"" + secret + "\"}");
  }
  // The cookie; empty: it was refused.
  std::string LogIn(const std::string& secret) const {
    const WebAnswer answer = TryToLogIn(secret);
    if (answer.status != 200) return "";
    const std::string cookie = answer.headers.at("set-cookie");
    return cookie.substr(0, cookie.find(';'));
  }
  // The route's address, for a job.
  static std::string Target(const std::string& route, const std::string& job) {
    std::string target = route.substr(route.find(' ') + 1);
    target =
        absl::StrReplaceAll(target, {{"/jobs/*", "/jobs/" + job}, {"/workers/*", "/workers/w"}});
    target = absl::StrReplaceAll(target, {{"/*", "/0"}});
    return target + (target.ends_with(".zip") ? "?index=0" : "");
  }
  WebAnswer Ask(const std::string& route, const std::string& job, const std::string& cookie) const {
    const bool goes_on = route.find("live") != std::string::npos;
    std::string body = route.ends_with("priority") ? "{\"priority\":3}" : "{}";
    if (route.ends_with("like")) {
      body =
          "{\"name\":\"again\",\"axes\":[{\"name\":\"n\",\"range\":\"1-2\"},"
          "{\"name\":\"seed\",\"range\":\"7-8\"}]}";
    }
    const std::string method = route.substr(0, route.find(' '));
    return web_.Ask(method, Target(route, job), Ours(cookie), method == "POST" ? body : "",
                    goes_on ? "}\n\n" : "");
  }
  static bool May(const std::string& route, const std::string& role) {
    const std::vector<std::string> roles = absl::StrSplit(kMayAsk.at(route), ' ');
    return std::count(roles.begin(), roles.end(), role) > 0;
  }

  const int port_ = FreePort();
  const WebClient web_{port_, certificates_.File("ca.crt")};
  std::map<std::string, std::string> brand_, contest_;  // cookies by role
  std::string submit_, job_;
};

TEST_F(GalleryTest, EveryAddressByEverybody) {
  std::set<std::string> routes;
  for (const std::string& route : gallery::Gallery::Routes())
    if (!kForAll.contains(route)) routes.insert(route);
  for (const auto& [route, roles] : kMayAsk) EXPECT_EQ(routes.count(route), 1u) << route;
  const std::string before = List(operate_).DebugString();
  for (const std::string& route : routes) {
    SCOPED_TRACE(route);
    ASSERT_EQ(kMayAsk.count(route), 1u) << "a new address: who may ask it?";
    for (const std::string& nobody :
         {std::string(), "__Host-tiltshift=" + std::string(64, '0'), "__Host-tiltshift=" + submit_})
      EXPECT_EQ(Ask(route, job_, nobody).status, 401) << nobody;
    if (route.find("/jobs/*") == std::string::npos) continue;
    for (const auto& [role, cookie] : contest_) {
      if (role == "operate") continue;  // no tenant's
      const WebAnswer theirs = Ask(route, job_, cookie), none = Ask(route, kNoJob, cookie);
      EXPECT_EQ(theirs.status, none.status) << role;
      EXPECT_EQ(absl::StrReplaceAll(theirs.body, {{job_, "JOB"}}),
                absl::StrReplaceAll(none.body, {{kNoJob, "JOB"}}));
      if (route.find("live") == std::string::npos) {
        EXPECT_EQ(theirs.status, May(route, role) || route.ends_with("/like") ? 404 : 403)
            << role << theirs.body;
      }
    }
  }
  EXPECT_EQ(List(operate_).DebugString(), before) << "somebody changed something";
  for (const std::string& route : routes) {
    for (const auto& [role, cookie] : brand_) {
      const WebAnswer answer = Ask(route, job_, cookie);
      // A stream says so in an event.
      const bool refused =
          answer.status == 403 || answer.body.find("is for those who") != std::string::npos;
      EXPECT_EQ(!refused, May(route, role))
          << route << " " << role << " " << answer.status << " " << answer.body;
      EXPECT_NE(answer.status, 401) << route << " " << role;
    }
  }
}

TEST_F(GalleryTest, NobodyElsesPageChangesOrReadsAnything) {
  const std::string cookie = brand_["submit"];
  const std::string pause = "/api/jobs/" + job_ + "/pause", get = "/api/jobs/" + job_;
  const auto with = [&](const std::string& name, const std::string& value) {
    WebClient::Fields fields = Ours(cookie);
    if (value.empty())
      fields.erase(name);
    else
      fields[name] = value;
    return fields;
  };
  for (const auto& fields : {with("X-Tiltshift", ""), with("Content-Type", "text/plain"),
                             with("Content-Type", "application/x-www-form-urlencoded"),
                             with("Origin", "https://evil.example"), with("Origin", "null"),
                             with("Origin", "http://localhost:" + std::to_string(port_)),
                             with("Sec-Fetch-Site", "cross-site"),
                             with("Sec-Fetch-Site", "same-site"), with("Sec-Fetch-Site", "none")})
    EXPECT_EQ(web_.Ask("POST", pause, fields, "{}").status, 403);
  EXPECT_EQ(web_.Ask("GET", pause, Ours(cookie)).status, 405);
  EXPECT_EQ(web_.Ask("GET", get, with("Sec-Fetch-Site", "cross-site")).status, 403);
  EXPECT_EQ(web_.Ask("GET", get, with("Origin", "https://evil.example")).status, 403);
  EXPECT_THAT(web_.Ask("GET", get, Ours(cookie)).body, HasSubstr("JOB_STATE_QUEUED"));
  EXPECT_EQ(web_.Ask("POST", pause, Ours(cookie), "{}").status, 200);
  EXPECT_THAT(web_.Ask("GET", get, Ours(cookie)).body, HasSubstr("JOB_STATE_PAUSED"));
}

TEST_F(GalleryTest, ALogInLastsUntilItsEndOrItsTokens) {
  const auto made = Create("brand", {v1::ROLE_READ});
  const WebAnswer in = TryToLogIn(made.secret());
  ASSERT_EQ(in.status, 200) << in.body;
  EXPECT_THAT(in.headers.at("set-cookie"),
              AllOf(HasSubstr("__Host-tiltshift="), HasSubstr("; Path=/"), HasSubstr("; HttpOnly"),
                    HasSubstr("; SameSite=Strict"), HasSubstr("; Secure")));
  EXPECT_THAT(in.head + in.body, Not(HasSubstr(made.secret())));
  const std::string cookie = LogIn(made.secret());
  const auto me = [&] { return web_.Ask("GET", "/api/me", Ours(cookie)).body; };
  EXPECT_THAT(me(), AllOf(HasSubstr("\"signed_in\":true"), HasSubstr("\"tenant\":\"brand\""),
                          HasSubstr("ROLE_READ"), Not(HasSubstr(made.secret()))));
  EXPECT_EQ(web_.Ask("GET", "/api/jobs", Ours(cookie)).status, 200);
  ASSERT_TRUE(Revoke(made.token().id()).ok());
  EXPECT_EQ(web_.Ask("GET", "/api/jobs", Ours(cookie)).status, 401);
  EXPECT_THAT(me(), HasSubstr("\"signed_in\":false"));

  const std::string other = brand_["read"];
  const WebAnswer out = web_.Ask("POST", "/api/logout", Ours(other), "{}");
  EXPECT_THAT(out.headers.at("set-cookie"), HasSubstr("Max-Age=0"));
  EXPECT_EQ(out.headers.at("clear-site-data"), "\"cache\"");
  EXPECT_EQ(web_.Ask("GET", "/api/jobs", Ours(other)).status, 401);
  EXPECT_THAT(*ReadFile(audit_), HasSubstr("\"peer\":\"gallery:127.0.0.1\""));
}

TEST_F(GalleryTest, FailuresAreAskedForAlone) {
  const std::string variants = "/api/jobs/" + job_ + "/variants?failed=1";
  const WebAnswer none = web_.Ask("GET", variants, Ours(brand_["read"]));
  EXPECT_EQ(none.status, 200);
  EXPECT_THAT(none.body, AllOf(HasSubstr("\"variants\":[]"), HasSubstr("\"next\":\"0\"")));
  const WebAnswer both = web_.Ask("GET", variants + "&axis.seed=1", Ours(brand_["read"]));
  EXPECT_EQ(both.status, 400);
  EXPECT_THAT(both.body, HasSubstr("not together with choices"));
}

TEST_F(GalleryTest, GuessesAreRefusedAndCounted) {
  EXPECT_EQ(TryToLogIn(Create("", {v1::ROLE_WORKER}).secret()).status, 403);
  std::string wrong = operate_;
  wrong.back() = wrong.back() == '0' ? '1' : '0';
  EXPECT_EQ(TryToLogIn(wrong).status, 401);
  EXPECT_EQ(TryToLogIn("x\\\"y").status, 401);
  WebAnswer last;
  for (int i = 0; i < 10; ++i) last = TryToLogIn(wrong);
  EXPECT_EQ(last.status, 429) << last.body;
}

TEST_F(GalleryTest, PagesAreTheProgramsOwnAndNothingElse) {
  const WebAnswer page = web_.Ask("GET", "/");
  EXPECT_EQ(page.status, 200);
  EXPECT_THAT(page.body, AllOf(HasSubstr("<title>Tiltshift</title>"), Not(HasSubstr("<script>")),
                               Not(HasSubstr("style=")), Not(HasSubstr("://"))));
  EXPECT_EQ(web_.Ask("GET", "/", {{"If-None-Match", page.headers.at("etag")}}).status, 304);
  for (const char* path : {"/../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2fgallery.cc",
                           "/app.js/", "/page/app.js", "//app.js", "/index.html%00.js"}) {
    EXPECT_THAT(web_.Ask("GET", path).status, testing::AnyOf(400, 404)) << path;
  }
  EXPECT_EQ(web_.Ask("POST", "/").status, 405);
  for (const char* path : {"/", "/app.js", "/nowhere", "/api/nowhere", "/api/jobs", "/%zz"}) {
    const WebAnswer answer = web_.Ask("GET", path);
    EXPECT_THAT(answer.headers.at("content-security-policy"),
                AllOf(HasSubstr("default-src 'none'"), HasSubstr("script-src 'self';"),
                      Not(HasSubstr("unsafe"))))
        << path;
    EXPECT_EQ(answer.headers.at("x-content-type-options"), "nosniff");
    EXPECT_TRUE(answer.headers.contains("strict-transport-security"));
  }
}

// Where nobody is asked, another site's name may be led to this machine: only its own are answered.
TEST(OpenGallery, AnswersToThisMachinesNamesAlone) {
  const std::string folder = FreshFolder();
  RedisServer redis(folder);
  const int port = FreePort();
  SchedulerProcess scheduler(folder, redis.address(),
                             {"--gallery", "127.0.0.1:" + std::to_string(port)});
  ASSERT_TRUE(scheduler.Leads());
  const WebClient web(port);
  for (const char* host : {"localhost", "127.0.0.1:80", "[::1]:80"})
    EXPECT_EQ(web.Ask("GET", "/api/jobs", {{"Host", host}}).status, 200) << host;
  for (const char* host :
       {"evil.example", "localhost.evil.example:80", "127.evil.example", "unix:"})
    EXPECT_EQ(web.Ask("GET", "/api/jobs", {{"Host", host}}).status, 421) << host;
  EXPECT_THAT(web.Ask("GET", "/api/me").body, HasSubstr("\"asks\":false"));
  EXPECT_EQ(web.Ask("POST", "/api/jobs/" + std::string(kNoJob) + "/cancel", {}, "{}").status, 403);
}

TEST(OpenGallery, IsNotShownToOtherMachines) {
  const std::string folder = FreshFolder();
  for (const char* address : {"0.0.0.0:7080", "farm.example:7080", "unix:/tmp/x"}) {
    Process scheduler({Program("tiltshift-scheduler"), "--blobs", folder, "--gallery", address},
                      folder);
    EXPECT_EQ(scheduler.Wait(10'000), 1);
    EXPECT_THAT(scheduler.Output(), HasSubstr("--gallery"));
  }
}

}  // namespace
}  // namespace tiltshift::tests
