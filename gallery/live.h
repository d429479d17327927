// What changes, as server-sent events:
// https://html.spec.whatwg.org/multipage/server-sent-events.html
//
//   event: job | jobs | workers   data: the message in JSON
//   event: trouble                data: {"error": why nothing comes for the moment}
//   event: gone                   log in again
//   event: end                    the job has ended; nothing more comes
#pragma once

#include "gallery/api.h"

namespace tiltshift::gallery {

HttpResponse LiveJobs(const ApiCall& call);  // ?tenant=
HttpResponse LiveJob(const ApiCall& call);   // of path[1], without its spec
HttpResponse LiveWorkers(const ApiCall& call);

}  // namespace tiltshift::gallery
