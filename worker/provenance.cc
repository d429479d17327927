#include "worker/provenance.h"

#include "picture/png_chunk.h"
#include "plan/photo_id.h"
#include "provenance/credentials.h"
#include "provenance/xmp.h"

namespace tiltshift::worker {
namespace {

provenance::Statement StatementOf(const v1::JobSpec& spec, const plan::Variant& variant,
                                  const std::string& render_class) {
  const v1::OutputSettings& output = spec.output();
  const auto author = variant.parameters.find("author");
  provenance::Statement statement;
  statement.from_photo = !plan::PhotoOf(spec, variant.parameters).empty();
  statement.model = spec.model();
  statement.render_class = render_class;
  statement.job = spec.name();
  statement.seed = absl::StrCat(variant.seed);
  statement.owner = output.owner();
  statement.license = output.license();
  if (output.tell_prompt()) statement.prompt = variant.prompt;
  if (output.tell_author() && author != variant.parameters.end()) statement.author = author->second;
  return statement;
}

}  // namespace

absl::StatusOr<std::string> WithProvenance(std::string_view png, const v1::JobSpec& spec,
                                           const plan::Variant& variant,
                                           const std::string& render_class,
                                           const provenance::Signer* signer) {
  const provenance::Statement statement = StatementOf(spec, variant, render_class);
  TS_ASSIGN_OR_RETURN(std::string with_xmp, picture::WithXmp(png, provenance::XmpOf(statement)));
  if (signer == nullptr) return with_xmp;
  return provenance::WithCredentials(with_xmp, statement, *signer);
}

}  // namespace tiltshift::worker
