// Who may call what: a rule a method, and none is nobody's. A new method needs a row in
// method_rules.cc and no line of code: that a job is the caller's, and whose a submission is,
// follows from the fields that the row names.
#pragma once

#include <string>

#include "access/token_book.h"

namespace tiltshift::access {

struct MethodRule {
  const char* method;  // "/tiltshift.v1.Farm/Submit"
  Roles roles;         // any of these will do
  // Fields of the (first) message, several with a space between: "job_id variant.job_id".
  const char* jobs = "";       // hold a job's id. Another tenant's job is none, as an unknown one
  const char* tenants = "";    // hold a tenant: the token's, whatever the caller left out
  const char* operators = "";  // are set by operators alone
  const char* caller = "";     // is set to the id of the caller's token
  bool changes = false;        // goes into the audit log
  bool submits = false;        // counts as a submission
  bool certificate = false;    // one that the server's CA signed will do in place of a token
  bool uploads = false;        // its messages' bytes count, and what it names is made for a tenant
};

// Null: no such method.
const MethodRule* RuleOf(const std::string& method);

}  // namespace tiltshift::access
