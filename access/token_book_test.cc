#include "access/token_book.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "base/hash.h"

namespace tiltshift::access {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

v1::CreateTokenRequest Asked(const std::vector<v1::Role>& roles,
                             const std::string& tenant = "brand", int64_t lives_ms = 0) {
  v1::CreateTokenRequest request;
  for (const v1::Role role : roles) request.add_roles(role);
  request.set_tenant(tenant);
  request.set_lives_ms(lives_ms);
  return request;
}

class TokenBookTest : public ::testing::Test {
 protected:
  TokenBookTest() { book_.Replace({}); }
  TokenBook::Made Make(const v1::CreateTokenRequest& request) {
    auto made = TokenBook::Make(request, 1'000);
    EXPECT_TRUE(made.ok()) << made.status();
    book_.Put(made->stored);
    return *made;
  }
  absl::Status Find(const std::string& presented, int64_t now_ms = 2'000) {
    return book_.Find(presented, now_ms).status();
  }

  TokenBook book_;
};

TEST_F(TokenBookTest, ASecretIsWhatItShouldBeAndIsNotKept) {
  const auto made = Make(Asked({v1::ROLE_READ, v1::ROLE_SUBMIT, v1::ROLE_READ}));
  EXPECT_THAT(made.secret, MatchesRegex("ts_[0-9a-f]{12}_[0-9a-f]{64}"));
  const std::string secret = made.secret.substr(16);
  EXPECT_THAT(made.stored.SerializeAsString(), Not(HasSubstr(secret)));
  EXPECT_EQ(made.stored.secret_sha256(), Sha256Hex(secret));
  const auto caller = book_.Find(made.secret, 2'000);
  ASSERT_TRUE(caller.ok()) << caller.status();
  EXPECT_EQ((*caller)->tenant(), "brand");
  EXPECT_EQ((*caller)->roles(), kRead | kSubmit);
  EXPECT_EQ(RoleNames((*caller)->roles()), "submit, read");
  EXPECT_NE(Make(Asked({v1::ROLE_READ})).secret, made.secret);
}

// Whoever guesses learns nothing from the answer.
TEST_F(TokenBookTest, AllThatIsNoTokenGetsOneAnswer) {
  const std::string good = Make(Asked({v1::ROLE_READ})).secret;
  std::string other_secret = good, other_id = good;
  other_secret.back() = good.back() == '0' ? '1' : '0';
  other_id[3] = good[3] == '0' ? '1' : '0';
  std::set<std::string> answers;
  for (const std::string& bad :
       {other_secret, other_id, good.substr(0, good.size() - 1), good + "0", good.substr(0, 16),
        good.substr(3), std::string(), std::string("ts_"), std::string("ts__"),
        std::string(100'000, '_'), std::string("ts_\0\0", 5)}) {
    const absl::Status status = Find(bad);
    EXPECT_EQ(status.code(), absl::StatusCode::kUnauthenticated);
    answers.insert(Message(status));
  }
  EXPECT_EQ(answers.size(), 1u);
  EXPECT_TRUE(Find(good).ok());
}

TEST_F(TokenBookTest, EndsWhenItExpiresAndWhenItIsRevoked) {
  const auto made = Make(Asked({v1::ROLE_OPERATE}, "", 5'000));
  EXPECT_EQ(made.stored.token().tenant(), "default");
  const auto caller = book_.Find(made.secret, 5'999);
  ASSERT_TRUE(caller.ok()) << caller.status();
  EXPECT_TRUE(book_.Has(kOperate, 5'999));
  EXPECT_FALSE(book_.Has(kWorker, 5'999));
  EXPECT_FALSE(book_.Has(kOperate, 6'000));
  EXPECT_THAT(Message(Find(made.secret, 6'000)), HasSubstr("expired at 1970-01-01T00:00:06Z"));
  EXPECT_FALSE((*caller)->Valid(6'000).ok());

  const auto revoked = book_.Revoke(made.stored.token().id(), 3'000);
  ASSERT_TRUE(revoked.ok()) << revoked.status();
  EXPECT_EQ(revoked->token().revoked_unix_ms(), 3'000);
  EXPECT_FALSE((*caller)->Valid(4'000).ok()) << "a stream that is open hears of it";
  EXPECT_THAT(Message(Find(made.secret, 4'000)), HasSubstr("was revoked"));
  EXPECT_EQ(book_.Revoke(made.stored.token().id(), 9'000)->token().revoked_unix_ms(), 3'000);
  EXPECT_EQ(book_.Revoke("nobody", 1).status().code(), absl::StatusCode::kNotFound);
}

// A later look at Redis may be of a Redis that has not heard of it yet.
TEST_F(TokenBookTest, RevokedIsNeverUndone) {
  const auto made = Make(Asked({v1::ROLE_READ}));
  ASSERT_TRUE(book_.Revoke(made.stored.token().id(), 3'000).ok());
  book_.Replace({made.stored});
  EXPECT_FALSE(Find(made.secret).ok());
  book_.Put(made.stored);
  EXPECT_FALSE(Find(made.secret).ok());
  EXPECT_EQ(book_.All().at(0).token().revoked_unix_ms(), 3'000);
}

TEST_F(TokenBookTest, WhatRedisDoesNotHaveIsNoToken) {
  const auto made = Make(Asked({v1::ROLE_READ}));
  const auto caller = book_.Find(made.secret, 2'000);
  ASSERT_TRUE(caller.ok());
  book_.Replace({});
  EXPECT_FALSE(Find(made.secret).ok());
  EXPECT_FALSE((*caller)->Valid(2'000).ok());
  EXPECT_EQ(TokenBook().Find(made.secret, 2'000).status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(TokenBookTest, WhatCannotBeAskedFor) {
  const auto refused = [](const v1::CreateTokenRequest& request) {
    const auto made = TokenBook::Make(request, 1);
    EXPECT_EQ(made.status().code(), absl::StatusCode::kInvalidArgument) << made.status();
    return Message(made.status());
  };
  EXPECT_THAT(refused(Asked({})), HasSubstr("roles: "));
  EXPECT_THAT(refused(Asked({static_cast<v1::Role>(9)})), HasSubstr("roles: 9"));
  EXPECT_THAT(refused(Asked({v1::ROLE_UNSPECIFIED})), HasSubstr("roles: 0"));
  EXPECT_THAT(refused(Asked({v1::ROLE_READ}, "a b")), HasSubstr("tenant: \"a b\""));
  EXPECT_THAT(refused(Asked({v1::ROLE_READ}, "a", -1)), HasSubstr("lives_ms"));
  v1::CreateTokenRequest named = Asked({v1::ROLE_READ});
  named.set_name("two\nlines");
  EXPECT_THAT(refused(named), HasSubstr("name: "));
}

}  // namespace
}  // namespace tiltshift::access
