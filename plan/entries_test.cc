// A contest's table, from its file to the variants of its entries.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "plan/entry_file.h"
#include "plan/entry_table.h"
#include "plan/limits.h"
#include "plan/plan.h"
#include "plan/spec.h"
#include "tests/support/folder_test.h"

namespace tiltshift::plan {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

EntryFile Read(const std::string& text) {
  auto file = ParseEntryFile(text, "entries.csv");
  EXPECT_TRUE(file.ok()) << file.status();
  return file.ok() ? *std::move(file) : EntryFile();
}

// A contest of one batch, that is this table.
v1::JobSpec ContestOf(const std::string& table) {
  v1::JobSpec spec;
  spec.set_kind(v1::JOB_KIND_CONTEST);
  spec.set_name("contest");
  spec.set_model("diorama");
  AddBatch(Read(table).table, "", spec);
  return spec;
}

std::vector<std::string> Problems(const v1::JobSpec& spec, const std::string& table) {
  const EntryFile file = Read(table);
  EntryLedger ledger(spec.contest().per_author());
  std::vector<std::string> problems;
  for (const auto& [entry, what] : CheckEntries(spec, file.table, ledger))
    problems.push_back(absl::StrCat(file.lines[entry], ": ", what));
  return problems;
}

TEST(EntriesTest, AMaskNeedsAPhoto) {
  EXPECT_THAT(Problems({}, "id,photo,mask\na,a.png,m.png\nb,b.png,\nc,,m.png\n"),
              ElementsAre("4: column mask: there is no photo that it is a mask of"));
  EXPECT_THAT(Problems({}, "id,mask\na,\nb,m.png\n"), SizeIs(1));
  v1::JobSpec spec;
  spec.set_name("n");
  spec.set_model("m");
  spec.set_prompt("x");
  spec.set_mask("m.png");
  EXPECT_THAT(std::string(Plan::Create(spec).status().message()),
              HasSubstr("mask: there is no photo"));
  spec.set_photo("p.png");
  EXPECT_TRUE(Plan::Create(spec).ok());
  v1::JobSpec contest = ContestOf("id,prompt,photo,mask\na,x,p.png,m.png\n");
  EXPECT_TRUE(Plan::Create(contest).ok());
  contest.set_mask("m.png");
  EXPECT_THAT(std::string(Plan::Create(contest).status().message()),
              HasSubstr("mask: a contest's masks are in its entries"));
}

// What looks at files is asked about all rows at once, and which of them can't be taken.
TEST(EntriesTest, PhotosAreLookedAtTogether) {
  const std::string folder = ::testing::TempDir();
  ASSERT_TRUE(WriteFileAtomic(folder + "/with-photos.csv",
                              "id,mask,photo\na,m.png,a.png\nb,,b.png\nc,,\n", IfPresent::kReplace)
                  .ok());
  int asked = 0;
  const auto table = ReadEntryTable(
      {},
      {.file = "with-photos.csv",
       .skip_bad = true,
       .check_photo =
           [&](const std::string&, const std::vector<PhotoNames>& names) {
             ++asked;
             std::vector<std::string> why;
             for (const PhotoNames& its : names)
               why.push_back(its.mask == "m.png" && its.photo == "a.png" ? "mask: m.png: no" : "");
             return why;
           }},
      folder);
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ(asked, 1);
  EXPECT_THAT(table->skipped, ElementsAre("with-photos.csv:2: column mask: m.png: no"));
  ASSERT_THAT(table->batches, SizeIs(1));
  EXPECT_THAT(table->batches[0].entries(), SizeIs(2));
}

TEST(EntryFileTest, CsvKnowsQuotesAndWhereItsRowsBegin) {
  const EntryFile file =
      Read("\xef\xbb\xbfid,prompt\r\na,\"a \"\"big\"\" cat,\nand a dog\"\r\n\r\nb, plain \r\n");
  EXPECT_THAT(file.table.columns(), ElementsAre("id", "prompt"));
  ASSERT_THAT(file.table.entries(), SizeIs(2));
  EXPECT_THAT(file.table.entries(0).values(), ElementsAre("a", "a \"big\" cat,\nand a dog"));
  EXPECT_THAT(file.table.entries(1).values(), ElementsAre("b", "plain"));
  EXPECT_THAT(file.lines, ElementsAre(2, 5));
}

TEST(EntryFileTest, TheHeadLineSaysWhatDivides) {
  EXPECT_THAT(Read("id;prompt\na;x, y\n").table.entries(0).values(), ElementsAre("a", "x, y"));
  EXPECT_THAT(Read("id\tprompt\na\tx; y\n").table.entries(0).values(), ElementsAre("a", "x; y"));
}

TEST(EntryFileTest, ARowOfAnotherLengthIsBadAndTheRestIsRead) {
  const EntryFile file = Read("id,prompt\na\nb,x\nc,x,y\n");
  EXPECT_THAT(file.table.entries(), SizeIs(1));
  ASSERT_THAT(file.bad, SizeIs(2));
  EXPECT_EQ(file.bad[0].line, 2);
  EXPECT_EQ(file.bad[1].what, "has 3 values; the head line has 2");
}

TEST(EntryFileTest, QuotesThatDoNotPairNameTheRow) {
  for (const char* text : {"id,prompt\na,x\nb,\"y\nc,z\n", "id,prompt\na,x\nb,\"y\"z\n"})
    EXPECT_THAT(std::string(ParseEntryFile(text, "e.csv").status().message()),
                HasSubstr("e.csv:3: the quotes"));
  EXPECT_THAT(std::string(ParseEntryFile("id,prompt\n", "e.csv").status().message()),
              HasSubstr("holds no entries"));
}

TEST(EntryFileTest, JsonLinesMayLeaveFieldsOut) {
  const EntryFile file =
      Read("{\"id\": \"a\", \"size\": 3}\n\n{\"prompt\": \"x\", \"id\": \"b\", \"size\": null}\n");
  EXPECT_THAT(file.table.columns(), ElementsAre("id", "size", "prompt"));
  EXPECT_THAT(file.table.entries(0).values(), ElementsAre("a", "3", ""));
  EXPECT_THAT(file.table.entries(1).values(), ElementsAre("b", "", "x"));
  EXPECT_THAT(file.lines, ElementsAre(1, 3));
  const EntryFile bad =
      Read("{\"id\": \"a\"}\n{\"id\": [1]}\n{\"id\": \"b\", \"id\": \"c\"}\n[1]\n{\n");
  std::vector<std::string> why;
  for (const auto& row : bad.bad) why.push_back(absl::StrCat(row.line, ": ", row.what));
  EXPECT_THAT(why,
              ElementsAre("2: field id: is neither a text nor a number", "3: has a field twice",
                          "4: is no JSON object of one line", "5: is no JSON object of one line"));
}

TEST(EntriesTest, EachBadRowHasItsReason) {
  v1::JobSpec spec;
  spec.mutable_contest()->set_per_author(2);
  EXPECT_THAT(
      Problems(spec,
               "id,author,prompt,seed\na,ann,x,1\na,bob,x,1\n../"
               "b,bob,x,1\n,bob,x,1\nc,ann,x,1\nd,ann,x,1\n"
               "e,,x,1\nf,bob, ,1\ng,bob,x,one\nh,bob,\xff,1\n"),
      ElementsAre("3: column id: a is there already",
                  "4: column id: \"../b\" is not made of letters, digits, '_', '-' and '.'",
                  "5: has no id", "7: column author: ann has 2 entries already",
                  "8: has no author, and authors have a bound here", "9: column prompt: is empty",
                  "10: column seed: \"one\" is not a whole number from 0 up",
                  "11: column prompt: is not UTF-8; save the file as UTF-8"));
}

TEST(EntriesTest, ColumnsMustBeTheContests) {
  const auto why = [](const v1::JobSpec& spec, const std::string& head) {
    return std::string(CheckColumns(spec, Read(head + "\n1,2,3\n").table).message());
  };
  v1::JobSpec spec;
  EXPECT_THAT(why(spec, "name,prompt,x"), HasSubstr("no column called id"));
  EXPECT_THAT(why(spec, "id,prompt,prompt"), HasSubstr("two columns called prompt"));
  EXPECT_THAT(why(spec, "id,prompt,my wish"), HasSubstr("entries.my wish: a name is made of"));
  EXPECT_THAT(why(spec, "id,prompt,index"), HasSubstr("{index} is the variant's number"));
  spec.add_axes()->set_name("x");
  EXPECT_THAT(why(spec, "id,prompt,x"), HasSubstr("x is a column and an axis"));
  const v1::JobSpec contest = ContestOf("id,author,prompt\na,b,c\n");
  EXPECT_EQ(why(contest, "author,prompt,id"), "");
  EXPECT_THAT(why(contest, "id,author,wish"), HasSubstr("no column called prompt, which"));
  EXPECT_THAT(why(contest, "id,author,prompt,more"), HasSubstr("have no column called more"));
}

TEST(EntriesTest, WhatEarlierBatchesHaveCounts) {
  v1::JobSpec spec;
  spec.mutable_contest()->set_per_author(1);
  EntryLedger ledger(1);
  ledger.AddAll(Read("id,author\na,ann\n").table);
  const auto problems = CheckEntries(spec, Read("author,id\nbob,a\nann,b\nbob,c\n").table, ledger);
  ASSERT_THAT(problems, SizeIs(2));
  EXPECT_EQ(problems[0].what, "column id: a is there already");
  EXPECT_EQ(problems[1].what, "column author: ann has 1 entries already");
}

TEST(EntriesTest, AnEntryIsTheSlowestAxis) {
  v1::JobSpec spec = ContestOf("id,author,prompt\nowl,ann,an owl\nfox,bob,a fox\n");
  spec.set_prompt("a miniature of {prompt} by {author}, {light}");
  v1::Axis& light = *spec.add_axes();
  light.set_name("light");
  light.mutable_list()->add_values("soft");
  light.mutable_list()->add_values("hard");
  auto plan = Plan::Create(spec);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->count(), 4u);
  EXPECT_EQ(plan->variants_each(), 2u);
  EXPECT_EQ(plan->EntryOf(3), 1u);
  const v1::Entries rows = Read("id,author,prompt\nowl,ann,an owl\nfox,bob,a fox\n").table;
  const Variant variant = plan->At(3, RowOf(rows, 1));
  EXPECT_EQ(variant.prompt, "a miniature of a fox by bob, hard");
  EXPECT_EQ(variant.output_name, "fox-3.png");
  EXPECT_EQ(variant.parameters.at("light"), "hard");
  EXPECT_EQ(variant.parameters.at("author"), "bob");

  // A late batch moves nothing.
  AddBatch(Read("id,author,prompt\nhen,cid,a hen\n").table, "", spec);
  const auto later = Plan::Create(spec);
  EXPECT_EQ(later->count(), 6u);
  EXPECT_EQ(later->At(3, RowOf(rows, 1)).output_name, variant.output_name);
}

TEST(EntriesTest, ATableAloneIsEnough) {
  const v1::JobSpec spec = ContestOf("id,prompt,seed\nowl,an owl,7\n");
  const auto plan = Plan::Create(spec);
  ASSERT_TRUE(plan.ok()) << plan.status();
  const Variant variant = plan->At(0, {{"id", "owl"}, {"prompt", "an owl"}, {"seed", "7"}});
  EXPECT_EQ(variant.prompt, "an owl");
  EXPECT_EQ(variant.output_name, "owl.png");
  EXPECT_EQ(variant.seed, 7u);
}

TEST(EntriesTest, APromptThatWouldBeTooLongIsRefused) {
  v1::JobSpec spec = ContestOf(absl::StrCat("id,prompt\na,", std::string(1000, 'x'), "\n"));
  std::string prompt;
  for (int i = 0; i < 9; ++i) prompt += "{prompt}";
  spec.set_prompt(prompt);
  EXPECT_THAT(std::string(Plan::Create(spec).status().message()),
              HasSubstr("could become 9000 bytes long"));
  spec.set_prompt("{wish}");
  EXPECT_THAT(std::string(Plan::Create(spec).status().message()),
              HasSubstr("known are: {id}, {seed}, {index}, {prompt}"));
}

TEST(EntriesTest, KindAndEntriesBelongTogether) {
  v1::JobSpec spec = ContestOf("id,prompt\na,b\n");
  spec.set_kind(v1::JOB_KIND_CAMPAIGN);
  EXPECT_THAT(std::string(Plan::Create(spec).status().message()), HasSubstr("write kind: contest"));
  spec.set_kind(v1::JOB_KIND_CONTEST);
  spec.clear_contest();
  EXPECT_THAT(std::string(Plan::Create(spec).status().message()),
              HasSubstr("entries: are missing"));
}

class EntryTableTest : public tests::FolderTest {
 protected:
  absl::StatusOr<SpecFile> Parse(const std::string& table, const std::string& entries) {
    EXPECT_TRUE(WriteFileAtomic(folder_ + "/entries.csv", table, IfPresent::kReplace).ok());
    return ParseSpec("kind: contest\nname: c\nmodel: diorama\nentries: " + entries + "\n",
                     "contest.yaml", folder_);
  }
};

TEST_F(EntryTableTest, ASpecNamesIt) {
  const auto file = Parse("id,prompt\na,b\n", "entries.csv");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_THAT(file->batches, SizeIs(1));
  EXPECT_EQ(Plan::Create(file->spec)->count(), 1u);
  EXPECT_EQ(Parse("id,prompt\n../a,b\n", "entries.csv").status().message(),
            "entries.csv:2: column id: \"../a\" is not made of letters, digits, '_', '-' and '.'\n"
            "nothing was taken; mend the rows, or leave them out: on_invalid: skip");
}

TEST_F(EntryTableTest, BadRowsAreSkippedWhereTheSpecSaysSo) {
  const auto file = Parse("id,author,prompt\na,ann,b\na,ann,b\nc\nd,ann,e\n",
                          "{file: entries.csv, on_invalid: skip, per_author: 1}");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(EntryCount(file->spec), 1u);
  EXPECT_EQ(file->spec.contest().per_author(), 1u);
  EXPECT_THAT(file->skipped,
              ElementsAre("entries.csv:4: has 1 values; the head line has 3",
                          "entries.csv:3: column id: a is there already",
                          "entries.csv:5: column author: ann has 1 entries already"));
}

TEST_F(EntryTableTest, ALongTableIsCutIntoBatches) {
  std::string text = "id,prompt\n";
  for (int i = 0; i < 8'000; ++i) absl::StrAppend(&text, i, ",", std::string(1'000, 'x'), "\n");
  const auto file = Parse(text, "entries.csv");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_THAT(file->batches, SizeIs(3));
  for (const v1::Entries& batch : file->batches)
    EXPECT_LE(batch.ByteSizeLong(), kLargestBatchBytes);
  EXPECT_EQ(EntryCount(file->spec), 8'000u);
  EXPECT_EQ(file->spec.contest().columns(1).longest(), 1'000u);
}

}  // namespace
}  // namespace tiltshift::plan
