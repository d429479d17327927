#include "store/s3_answers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tiltshift::store {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::string Listing(const std::string& inside) {
  return absl::StrCat("<?xml version=\"1.0\"?>\n<ListBucketResult xmlns=\"http://x\">", inside,
                      "</ListBucketResult>");
}

TEST(S3Page, KeysAndWhatFollows) {
  const auto page = ParseS3Page(Listing(
      "<Prefix/><IsTruncated>true</IsTruncated><NextContinuationToken>a&amp;b=</"
      "NextContinuationToken><Contents><Size>1</Size><Key>x/a b</Key></Contents><Contents><Key>"
      "x/&lt;&amp;lt;+%41</Key><Owner><ID>k</ID></Owner></Contents>"));
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_THAT(page->keys, ElementsAre("x/a b", "x/<&lt;+%41"));
  EXPECT_EQ(page->next, "a&b=");
}

TEST(S3Page, UrlEncodedKeys) {
  const auto page = ParseS3Page(Listing(
      "<EncodingType>url</EncodingType><IsTruncated>false</IsTruncated><NextContinuationToken/>"
      "<Contents><Key>x/a+b%2B%c3%A9</Key></Contents>"));
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_THAT(page->keys, ElementsAre("x/a b+\xc3\xa9"));
  EXPECT_EQ(page->next, "");
}

TEST(S3Page, Empty) {
  EXPECT_THAT(ParseS3Page(Listing("<IsTruncated>false</IsTruncated>"))->keys, IsEmpty());
}

TEST(S3Page, Damaged) {
  const std::string whole = Listing(
      "<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>"
      "<NextContinuationToken>t</NextContinuationToken><Contents><Key>a</Key></Contents>");
  ASSERT_TRUE(ParseS3Page(whole).ok());
  for (size_t size = 0; size < whole.size(); ++size)
    EXPECT_TRUE(absl::IsDataLoss(ParseS3Page(whole.substr(0, size)).status())) << size;
  for (const char* inside :
       {"<IsTruncated>true</IsTruncated>", "<Contents></Contents>",
        "<EncodingType>url</EncodingType><Contents><Key>a%4</Key></Contents>",
        "<EncodingType>url</EncodingType><Contents><Key>a%zz</Key></Contents>"})
    EXPECT_TRUE(absl::IsDataLoss(ParseS3Page(Listing(inside)).status())) << inside;
}

TEST(S3Error, CodeAndMessage) {
  const S3Error error = ParseS3Error(
      "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Reduce\nyour rate</Message>"
      "</Error>");
  EXPECT_EQ(error.code, "SlowDown");
  EXPECT_EQ(error.message, "Reduce your rate");
  EXPECT_EQ(ParseS3Error("<html>502</html>").code, "");
  EXPECT_EQ(ParseS3Error("").code, "");
  EXPECT_EQ(ParseS3Error("<Error><Code>unclosed").code, "");
  EXPECT_EQ(ParseS3Error("<Error><Code>" + std::string(9'999, 'x') + "</Code></Error>").code.size(),
            200u);
}

}  // namespace
}  // namespace tiltshift::store
