// Any bytes as a contest's table: an error, or rows that can be checked, cut and read again, never
// a crash.
#include <cstdint>
#include <cstdlib>

#include "plan/entry_file.h"
#include "plan/entry_table.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tiltshift;
  const auto file = plan::ParseEntryFile({reinterpret_cast<const char*>(data), size}, "fuzz");
  if (!file.ok()) return 0;
  if (file->lines.size() != static_cast<size_t>(file->table.entries_size())) std::abort();
  v1::JobSpec spec;
  if (!plan::CheckColumns(spec, file->table).ok()) return 0;
  plan::EntryLedger ledger(2);
  plan::CheckEntries(spec, file->table, ledger);
  size_t entries = 0;
  for (const v1::Entries& batch : plan::CutIntoBatches(file->table)) {
    plan::AddBatch(batch, "", spec);
    entries += static_cast<size_t>(batch.entries_size());
    if (plan::RowOf(batch, 0).count("id") != 1) std::abort();
  }
  if (entries != file->lines.size() || plan::EntryCount(spec) != entries) std::abort();
  return 0;
}
