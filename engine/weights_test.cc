#include "engine/weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "engine/finite.h"
#include "tests/support/folder_test.h"

namespace tiltshift::engine {
namespace {

using ::testing::HasSubstr;

class WeightsTest : public tests::FolderTest {
 protected:
  void Put(const std::string& name, const std::string& bytes) {
    ASSERT_TRUE(WriteFileAtomic(folder_ + "/" + name, bytes, IfPresent::kReplace).ok());
  }
  // One F32 [1] tensor.
  void PutTensor(const std::string& file, const std::string& tensor) {
    const std::string header =
        "{\"" + tensor + "\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
    std::string bytes(8, '\0');
    bytes[0] = static_cast<char>(header.size());
    Put(file, bytes.append(header).append("data"));
  }
  std::string Error() {
    const auto weights = Weights::Open(folder_, "model");
    return weights.ok() ? "" : std::string(weights.status().message());
  }
};

TEST_F(WeightsTest, OneFile) {
  PutTensor("model.safetensors", "a");
  const auto weights = Weights::Open(folder_, "model");
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_TRUE(weights->Get("a", {1}).ok());
  EXPECT_EQ(weights->files().size(), 1u);

  const auto missing = weights->Get("b", {1});
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.status().message()),
              HasSubstr(folder_ + ": the weights have no tensor \"b\""));

  const auto other_shape = weights->Get("a", {2, 3});
  EXPECT_EQ(other_shape.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(other_shape.status().message()),
              HasSubstr("tensor \"a\" is [1] where config.json makes it [2, 3]"));
}

// Whatever parts the file is read in, of whatever size: numbers that begin in one part and end in the next as well.
TEST_F(WeightsTest, WhatIsNoNumberIsFoundByParts) {
  const std::string header = R"({"a":{"dtype":"F32","shape":[5],"data_offsets":[0,20]},)"
                             R"("b":{"dtype":"F16","shape":[3],"data_offsets":[20,26]}})";
  for (const auto& [bad, message] : std::map<int, std::string>{
           {-1, ""}, {0, "\"a\": element 0 of [5]"}, {4, "\"a\": element 4"}, {5, "\"b\": element 0"}, {7, "\"b\": element 2"}}) {
    std::string bytes(8, '\0');
    bytes[0] = static_cast<char>(header.size());
    bytes += header + std::string(26, '\1');
    const size_t data = 8 + header.size();
    if (bad >= 0 && bad < 5) bytes.replace(data + 4 * bad, 4, std::string("\0\0\xc0\x7f", 4));
    if (bad >= 5) bytes.replace(data + 20 + 2 * (bad - 5), 2, std::string("\0\x7c", 2));
    Put("model.safetensors", bytes);
    const auto weights = Weights::Open(folder_, "model");
    ASSERT_TRUE(weights.ok()) << weights.status();
    EXPECT_EQ(CheckFinite(*weights).ok(), bad < 0);
    const std::string_view file = weights->files()[0]->bytes();
    for (size_t part = 1; part <= file.size(); ++part) {
      FiniteSearch search;
      search.Add(*weights);
      for (size_t at = 0; at < file.size(); at += part) search.Look(file.substr(at, part));
      const absl::Status status = search.status();
      EXPECT_EQ(status.ok(), bad < 0) << bad << " in parts of " << part;
      EXPECT_THAT(Message(status), HasSubstr(message));
      EXPECT_THAT(Message(status), HasSubstr(bad < 0 ? "" : folder_ + ": tensor "));
    }
  }
}

TEST_F(WeightsTest, Shards) {
  PutTensor("model-1.safetensors", "a");
  PutTensor("model-2.safetensors", "b");
  Put("model.safetensors.index.json", R"({"metadata":{"total_size":8},"weight_map":)"
                                      R"({"a":"model-1.safetensors","b":"model-2.safetensors"}})");
  const auto weights = Weights::Open(folder_, "model");
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_TRUE(weights->Get("a", {1}).ok());
  EXPECT_TRUE(weights->Get("b", {1}).ok());
  EXPECT_EQ(weights->files().size(), 2u);
}

TEST_F(WeightsTest, AVariantIsReadWhereItIsAlone) {
  const auto has = [&](const char* tensor) {
    const auto weights = Weights::Open(folder_, "model");
    EXPECT_TRUE(weights.ok()) << weights.status();
    return weights.ok() && weights->Find(tensor) != nullptr;
  };
  PutTensor("model.bf16-1.safetensors", "sharded");
  Put("model.safetensors.index.bf16.json", R"({"weight_map":{"sharded":"model.bf16-1.safetensors"}})");
  EXPECT_TRUE(has("sharded"));
  PutTensor("model.fp16.safetensors", "half");
  EXPECT_TRUE(has("half"));
  PutTensor("model.safetensors", "whole");
  EXPECT_TRUE(has("whole"));
}

TEST_F(WeightsTest, AnIndexThatLiesIsRefused) {
  PutTensor("model-1.safetensors", "a");
  const auto index = [&](const std::string& map) { Put("model.safetensors.index.json", map); };
  index(R"({"weight_map":{"a":"model-1.safetensors","b":"model-1.safetensors"}})");
  EXPECT_THAT(Error(), HasSubstr("tensor \"b\" is not in model-1.safetensors"));
  index(R"({"weight_map":{"b":"model-1.safetensors"}})");
  EXPECT_THAT(Error(), HasSubstr("holds tensor \"a\", which"));
  index(R"({"weight_map":{"a":"model-9.safetensors"}})");
  EXPECT_THAT(Error(), HasSubstr("model-9.safetensors: No such file"));
  index(R"({"weight_map":{"a":"../../secret.safetensors"}})");
  EXPECT_THAT(Error(), HasSubstr("must be the name of a .safetensors file beside it"));
  index(R"({"weight_map":{"a":"model-1.safetensors","a":"model-1.safetensors"}})");
  EXPECT_THAT(Error(), HasSubstr("the key \"a\" stands twice"));
  index(R"({"weight_map":[]})");
  EXPECT_THAT(Error(), HasSubstr("no object weight_map"));
  index("{\"weight_map\":" + std::string(1 << 20, '['));
  EXPECT_THAT(Error(), HasSubstr("nested deeper than 32"));
}

TEST_F(WeightsTest, SaysWhatItLookedFor) {
  EXPECT_EQ(Error(),
            absl::StrCat("no weights in ", folder_,
                         ": looked for model.safetensors and model.safetensors.index.json, and for "
                         "their variants fp16 and bf16"));
  Put("pytorch_model.bin", "x");
  EXPECT_THAT(Error(), HasSubstr("convert them to safetensors"));
}

}  // namespace
}  // namespace tiltshift::engine
