"""The Content Authenticity Initiative's reader (c2pa-python), for tests.

c2pa_reader.py read CA FILE...       a line of JSON each: its validation state, the codes of what failed, the manifest
c2pa_reader.py sign ALGORITHM CHAIN KEY IN OUT  a PNG with credentials of c2pa-python's making
"""

import json
import sys

import c2pa


def read(anchors: str, path: str) -> dict:
    settings = {"trust": {"trust_anchors": anchors}, "verify": {"verify_trust": True}}
    context = c2pa.Context.from_dict(settings)
    try:
        with open(path, "rb") as file:
            said = json.loads(c2pa.Reader("image/png", file, context=context).detailed_json())
    except c2pa.C2paError as error:
        return {"state": "error", "failures": [], "error": str(error)}
    results = said["validation_results"]["activeManifest"]
    return {
        "state": said["validation_state"],
        "failures": [failure["code"] for failure in results["failure"]],
        "successes": [success["code"] for success in results["success"]],
        "manifest": said["manifests"][said["active_manifest"]],
    }


def sign(algorithm: str, chain: bytes, key: bytes, source: str, target: str) -> None:
    created = {
        "action": "c2pa.created",
        "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
    }
    manifest = {
        "claim_generator_info": [{"name": "another program", "version": "1"}],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [created]}}],
    }
    signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(algorithm.encode(), chain, key, None))
    with open(source, "rb") as reading, open(target, "w+b") as writing:
        c2pa.Builder(manifest, c2pa.Context.from_dict({})).sign(signer, "image/png", reading, writing)


def main() -> None:
    if sys.argv[1] == "read":
        anchors = open(sys.argv[2]).read()
        for path in sys.argv[3:]:
            print(json.dumps(read(anchors, path)))
    else:
        chain, key = (open(path, "rb").read() for path in sys.argv[3:5])
        sign(sys.argv[2], chain, key, *sys.argv[5:7])


main()
