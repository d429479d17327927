#!/usr/bin/env python3
"""Checks everything in deploy/ that can be checked without a cluster: prints what is wrong, exits 1 then.

    deploy/check.py BIN [PYTHON]     BIN: the folder of the built programs, whose --help says which options there are;
                                     PYTHON: one that has kubernetes-validate (scripts/setup makes it); exits 77
                                     where there is none

Manifests against Kubernetes' schemas, as kubectl builds them where there is a kubectl; units by systemd-analyze;
Dockerfiles and pods by rules of our own; options and secrets against what the programs and the guide know.
"""

import copy
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

DEPLOY = pathlib.Path(__file__).resolve().parent
KUBERNETES = "1.31"
PROGRAMS = ("tiltshift-scheduler", "tiltshift-worker")
# Whose schemas nobody here has: the fields that must be there.
CUSTOM = {
    "ScaledObject": ["spec.scaleTargetRef.name", "spec.triggers"],
    "TriggerAuthentication": ["spec.secretTargetRef"],
    "ServiceMonitor": ["spec.selector", "spec.endpoints"],
}


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, **options)


def at(manifest, path):
    for part in path.split("."):
        manifest = (manifest or {}).get(part)
    return manifest


def options_of(binaries, program):
    return set(re.findall(r"(?<![\w-])(--[a-z0-9-]+)", run(str(binaries / program), "--help").stdout))


def unknown_options(where, words, known):
    for word in words:
        option = str(word).split("=")[0]
        if option.startswith("--") and option not in known:
            yield f"{where}: the program has no option {option}"


# ---- Dockerfiles: what hadolint asks for, as far as it matters here.
def check_dockerfile(name, text):
    joined = re.sub(r"\\\n", " ", text)
    lines = [line for line in joined.splitlines() if line and not line.startswith("#")]
    stages, user, last = {}, None, {}
    for line in lines:
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            image, _, stage = rest.partition(" AS ")
            user, last = None, {}
            stages[stage] = image
            if image not in stages and (":" not in image or image.endswith(":latest")):
                yield f"{name}: FROM {image}: name a version"
        elif word == "USER":
            user = rest.split(":")[0]
        elif word == "ADD":
            yield f"{name}: COPY, not ADD"
        elif word == "WORKDIR" and not rest.startswith("/"):
            yield f"{name}: WORKDIR {rest} is not absolute"
        elif word in ("ENTRYPOINT", "CMD"):
            if not rest.startswith("["):
                yield f"{name}: {word} in a shell: signals would not reach the program"
            last[word] = rest
        elif word == "RUN" and "apt-get install" in rest:
            if "--no-install-recommends" not in rest or "rm -rf /var/lib/apt/lists" not in rest:
                yield f"{name}: apt-get install without --no-install-recommends, or leaves its lists"
        elif word in ("ENV", "ARG") and re.search(r"(?i)password|secret|token|key=", rest):
            yield f"{name}: a secret in the image: {rest}"
        if word == "COPY" and "--from=" in rest and rest.split("--from=")[1].split()[0] not in stages:
            yield f"{name}: COPY from a stage that is not above: {rest}"
    if len(stages) < 2:
        yield f"{name}: one stage: the compiler would be in the image"
    if user in (None, "0", "root"):
        yield f"{name}: the last stage runs as root"
    if "ENTRYPOINT" not in last:
        yield f"{name}: no ENTRYPOINT"


# ---- Pods.
def containers_of(manifest):
    spec = at(manifest, "spec.template.spec") or {}
    return spec, spec.get("initContainers", []) + spec.get("containers", [])


def check_pod(where, manifest, known):
    spec, containers = containers_of(manifest)
    security = spec.get("securityContext", {})
    if not security.get("runAsNonRoot") or at(security, "seccompProfile.type") != "RuntimeDefault":
        yield f"{where}: runs as root, or without the runtime's seccomp profile"
    volumes = {volume["name"] for volume in spec.get("volumes", [])}
    volumes |= {claim["metadata"]["name"] for claim in manifest["spec"].get("volumeClaimTemplates", [])}
    for container in containers:
        name, own = f"{where}/{container['name']}", container.get("securityContext", {})
        if own.get("allowPrivilegeEscalation") is not False or not own.get("readOnlyRootFilesystem"):
            yield f"{name}: may escalate, or write its root"
        if at(own, "capabilities.drop") != ["ALL"]:
            yield f"{name}: keeps capabilities"
        if not at(container, "resources.requests") or not at(container, "resources.limits.memory"):
            yield f"{name}: no requests, or no limit of memory"
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in volumes:
                yield f"{name}: mounts {mount['name']}, which is no volume"
        image = container["image"].split(":")[0]
        for program in PROGRAMS:
            if image.startswith(program):
                yield from unknown_options(name, container.get("args", []), known[program])
    labels = at(manifest, "spec.template.metadata.labels") or {}
    if (at(manifest, "spec.selector.matchLabels") or {}).items() - labels.items():
        yield f"{where}: its selector is not its pods'"


def names_in(manifest, kind):
    """The secrets or config maps that a pod names."""
    spec, containers = containers_of(manifest)
    reference = {"Secret": ("secretKeyRef", "secretRef"), "ConfigMap": ("configMapKeyRef", "configMapRef")}[kind]
    for container in containers:
        for variable in container.get("env", []):
            yield (at(variable, f"valueFrom.{reference[0]}") or {}).get("name")
        for source in container.get("envFrom", []):
            yield source.get(reference[1], {}).get("name")
    for volume in spec.get("volumes", []):
        yield volume.get("secret", {}).get("secretName") if kind == "Secret" else volume.get("configMap", {}).get("name")


def check_set(where, manifests, known, guide):
    """What the manifests of one overlay say of each other."""
    pods = [m for m in manifests if m["kind"] in ("StatefulSet", "Deployment")]
    labels = [at(m, "spec.template.metadata.labels") for m in pods]
    made = {m["metadata"]["name"] for m in manifests if m["kind"] == "ConfigMap"}
    for manifest in pods:
        name = f"{where}: {manifest['metadata']['name']}"
        yield from check_pod(name, manifest, known)
        for secret in filter(None, names_in(manifest, "Secret")):
            if f"`{secret}`" not in guide:
                yield f"{name}: the guide does not say what secret {secret} holds"
        for config in filter(None, names_in(manifest, "ConfigMap")):
            if config not in made:
                yield f"{name}: there is no config map {config}"
    for manifest in manifests:
        name = f"{where}: {manifest['kind']} {manifest['metadata']['name']}"
        for field in CUSTOM.get(manifest["kind"], []):
            if not at(manifest, field):
                yield f"{name}: no {field}"
        selector = (at(manifest, "spec.selector.matchLabels") if manifest["kind"] == "PodDisruptionBudget" else
                    at(manifest, "spec.podSelector.matchLabels") if manifest["kind"] == "NetworkPolicy" else
                    at(manifest, "spec.selector") if manifest["kind"] == "Service" else None)
        if selector and not any(selector.items() <= (of or {}).items() for of in labels):
            yield f"{name}: selects no pod"
        if manifest["kind"] == "ScaledObject":
            yield from check_scaled_object(name, manifest, manifests)


def check_scaled_object(name, manifest, manifests):
    target = at(manifest, "spec.scaleTargetRef.name")
    scaled = [m for m in manifests if m["kind"] == "Deployment" and m["metadata"]["name"] == target]
    if not scaled:
        yield f"{name}: scales {target}, which is not there"
    elif "replicas" in scaled[0]["spec"]:
        yield f"{name}: {target} says how many replicas itself"
    services = {f"{m['metadata']['name']}.{m['metadata']['namespace']}.svc.cluster.local:{port['port']}"
                for m in manifests if m["kind"] == "Service" for port in m["spec"]["ports"]}
    for trigger in manifest["spec"]["triggers"]:
        if trigger["metadata"]["scalerAddress"] not in services:
            yield f"{name}: nobody serves {trigger['metadata']['scalerAddress']}"
        strange = set(trigger["metadata"]) - {"scalerAddress", "model", "device", "secondsPerWorker"}
        if strange:
            yield f"{name}: metadata that the scheduler does not know: {strange}"


# ---- Whole files.
def check_kubernetes(yaml, known, guide):
    import kubernetes_validate

    for overlay in sorted((DEPLOY / "kubernetes/overlays").iterdir()):
        if not shutil.which("kubectl"):
            print("no kubectl here: overlays are not built, their files are validated one by one")
            break
        built = run("kubectl", "kustomize", str(overlay))
        if built.returncode != 0:
            yield f"{overlay.name}: {built.stderr}"
            continue
        manifests = list(yaml.safe_load_all(built.stdout))
        yield from check_set(overlay.name, manifests, known, guide)
        yield from validated(kubernetes_validate, overlay.name, manifests)
    for file in sorted((DEPLOY / "kubernetes").rglob("*.yaml")):
        documents = [d for d in yaml.safe_load_all(file.read_text()) if d]
        if file.name == "kustomization.yaml":
            for resource in documents[0].get("resources", []) + documents[0].get("components", []):
                if not (file.parent / resource).exists():
                    yield f"{file}: there is no {resource}"
        elif "proxy" not in file.name and all(isinstance(d, dict) and "kind" in d for d in documents):
            yield from validated(kubernetes_validate, str(file.relative_to(DEPLOY)), documents)


def validated(kubernetes_validate, where, manifests):
    for manifest in manifests:
        if manifest["kind"] in CUSTOM:
            continue
        try:
            kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
        except Exception as error:  # noqa: BLE001: whatever it is, the manifest is not valid
            yield f"{where}: {manifest['kind']} {manifest['metadata']['name']}: {error}"


def check_compose(yaml, known):
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    for name, service in compose["services"].items():
        for program in PROGRAMS:
            if name.startswith(program.removeprefix("tiltshift-")):
                yield from unknown_options(f"compose.yaml: {name}", service["command"], known[program])
        if "build" in service:
            file = (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).resolve()
            if f" AS {service['build']['target']}\n" not in file.read_text():
                yield f"compose.yaml: {name}: {file.name} has no target {service['build']['target']}"
        if not (service.get("read_only") or service.get("network_mode") == "none"):
            yield f"compose.yaml: {name}: writes its root"
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            there = (DEPLOY / source).exists() if source.startswith(".") else source in compose["volumes"]
            if not there:
                yield f"compose.yaml: {name}: there is no volume {source}"


def check_units(binaries, known):
    with tempfile.TemporaryDirectory() as folder:
        for unit in sorted((DEPLOY / "systemd").glob("*.service")):
            text = unit.read_text()
            program = re.search(r"^ExecStart=/usr/local/bin/(\S+)", text, re.M).group(1)
            if program not in known:
                yield f"{unit.name}: runs {program}"
                continue
            words = " ".join(re.findall(r"^(?:ExecStart|Environment)=(.*)$", text, re.M)).replace('"', " ").split()
            yield from unknown_options(unit.name, words, known[program])
            copied = pathlib.Path(folder) / unit.name
            copied.write_text(text.replace("/usr/local/bin/", f"{binaries}/"))
            if shutil.which("systemd-analyze"):
                said = run("systemd-analyze", "verify", str(copied))
                lines = [line for line in said.stderr.splitlines() if unit.name.split("@")[0] in line]
                if said.returncode != 0 or lines:
                    yield f"{unit.name}: {said.stderr.strip()}"


def check_scripts():
    for script in ("docker/pack", "kubernetes/components/redis-sentinel/configure"):
        shell = (DEPLOY / script).read_text().splitlines()[0].split("/")[-1].split()[-1]
        said = run(shell, "-n", str(DEPLOY / script))
        if said.returncode != 0 or not os.access(DEPLOY / script, os.X_OK):
            yield f"{script}: is no program: {said.stderr}"


def check_checks(yaml):
    """Each check, on something that is wrong: an error here is a check that sees nothing."""
    bad = "FROM debian AS build\nFROM debian:latest\nRUN apt-get install -y gcc\nADD . /\nENV DB_PASSWORD=x\nCMD run\n"
    if len(list(check_dockerfile("bad", bad))) < 8:
        yield "check_dockerfile sees nothing wrong with a bad Dockerfile"
    documents = list(yaml.safe_load_all((DEPLOY / "kubernetes/base/worker.yaml").read_text()))
    good = next(d for d in documents if d["kind"] == "Deployment")
    known = {program: {"--known"} for program in PROGRAMS}

    def spoil(change):
        manifest = copy.deepcopy(good)
        manifest["spec"]["template"]["spec"]["containers"][0]["args"] = ["--known=1"]
        change(manifest, manifest["spec"]["template"]["spec"]["containers"][0])
        return list(check_pod("spoiled", manifest, known))

    if spoil(lambda m, c: None):
        yield "check_pod complains of a good pod"
    for change in (lambda m, c: c.update(args=["--unknown=1"]), lambda m, c: c.pop("securityContext"),
                   lambda m, c: c.pop("resources"), lambda m, c: m["spec"]["template"]["spec"].pop("securityContext"),
                   lambda m, c: c["volumeMounts"].append({"name": "nowhere"}),
                   lambda m, c: m["spec"]["selector"]["matchLabels"].update(a="b")):
        if len(spoil(change)) < 1:
            yield "check_pod sees nothing wrong with a spoiled pod"
    if len(list(check_set("spoiled", [good, {"kind": "Service", "metadata": {"name": "s"},
                                             "spec": {"selector": {"a": "b"}}}], known, ""))) < 4:
        yield "check_set sees nothing wrong"


def main():
    binaries = pathlib.Path(sys.argv[1]).resolve()
    if len(sys.argv) > 2 and pathlib.Path(sys.argv[2]).exists():
        os.execv(sys.argv[2], [sys.argv[2], __file__, sys.argv[1]])
    try:
        import kubernetes_validate  # noqa: F401
        import yaml
    except ImportError:
        print("no kubernetes-validate here; scripts/setup installs one")
        sys.exit(77)
    known = {program: options_of(binaries, program) for program in PROGRAMS}
    guide = (DEPLOY.parent / "docs/operations.md").read_text()
    wrong = list(check_checks(yaml))
    for file in sorted((DEPLOY / "docker").glob("Dockerfile*")):
        wrong += check_dockerfile(file.name, file.read_text())
    wrong += check_kubernetes(yaml, known, guide)
    wrong += check_compose(yaml, known)
    wrong += check_units(binaries, known)
    wrong += check_scripts()
    print("\n".join(wrong) or "all of deploy/ is as it should be")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
