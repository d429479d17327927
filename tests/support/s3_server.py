"""Moto's S3 server with an empty bucket "farm", for tests: s3_server.py PORT [--tls CERT KEY] [--auth].

Prints "ready" when it listens. With --auth every request's signature is checked against one pair of
credentials, made here and printed as "credentials ACCESS SECRET".
"""

import json
import sys

from moto import settings
from moto.iam.models import iam_backends
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from moto.s3.models import s3_backends
from werkzeug.serving import make_server

ACCOUNT = "123456789012"
ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}


def ask_for_credentials() -> None:
    iam = iam_backends[ACCOUNT]["aws"]
    iam.create_user("aws", "farm")
    iam.put_user_policy("farm", "all", json.dumps(ALL))
    key = iam.create_access_key("farm")
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
    print("credentials", key.access_key_id, key.secret_access_key, flush=True)


def main() -> None:
    port, rest = int(sys.argv[1]), sys.argv[2:]
    tls = tuple(rest[rest.index("--tls") + 1 :][:2]) if "--tls" in rest else None
    s3_backends[ACCOUNT]["aws"].create_bucket("farm", "us-east-1")
    if "--auth" in rest:
        ask_for_credentials()
    app = DomainDispatcherApplication(create_backend_app)
    server = make_server(
        "127.0.0.1", port, app, threaded=True, request_handler=MotoRequestHandler, ssl_context=tls
    )
    print("ready", flush=True)
    server.serve_forever()


main()
