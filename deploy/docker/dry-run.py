"""Executes the Dockerfile without a container engine, and tests the result.

The instructions are read from the Dockerfile itself, so the two cannot diverge; an instruction that is
not supported fails the run. It cannot test that the base images provide what the stages need. The build
uses this machine's toolchain.
"""

import fnmatch
import hashlib
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The libraries in gcr.io/distroless/cc.
LIBRARIES = {"linux-vdso.so.1", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1",
             "libc.so.6", "libgcc_s.so.1", "libm.so.6"}
TOPIC = "arn:aws:sns:us-east-1:123456789012:site-changes"


class Stage:
    """The file system of a stage, in a directory of the dry run, and its settings."""

    def __init__(self, root):
        self.root, self.workdir, self.user = root, "/", None
        self.env, self.settings = {}, {}

    def path(self, inside):
        """The path on this machine of a path in the image."""
        return self.root / os.path.normpath(os.path.join(self.workdir, inside)).lstrip("/")


def instructions(text):
    """The name and arguments of each instruction, without comments and line continuations."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [line.split(None, 1) for line in joined.splitlines() if line.strip()]


def ignored(path):
    """Whether .dockerignore excludes the path; the last matching pattern wins."""
    out = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.strip().removeprefix("!").strip("/")
        parts = [path, *map(str, Path(path).parents)]
        if pattern and not line.startswith("#") and any(fnmatch.fnmatch(p, pattern) for p in parts):
            out = not line.startswith("!")
    return out


def copy(source, target, into):
    if into:
        target = target / source.name
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copy2(source, target)


def do_copy(words, stage, stages):
    flags = dict(w[2:].split("=", 1) for w in words if w.startswith("--"))
    *sources, target = [word for word in words if not word.startswith("--")]
    for source in sources:
        if "from" in flags:
            source = stages[flags["from"]].path(source)
        else:
            if ignored(source):
                sys.exit(f"COPY {source}: excluded by .dockerignore")
            source = ROOT / source
        copy(source, stage.path(target), target.endswith("/") and source.is_file())
    if "chown" in flags and os.geteuid() == 0:
        owner = [int(part) for part in flags["chown"].split(":")]
        for path in [stage.path(target), *stage.path(target).rglob("*")]:
            os.chown(path, *owner)


def do_run(command, stage):
    if re.search(r"(^|[\s=;&|>'\"])/", command):
        sys.exit(f"RUN has an absolute path, which would be on this machine: {command}")
    print(f"RUN {command}", flush=True)
    begin = time.monotonic()
    subprocess.run(["/bin/sh", "-c", command], cwd=stage.path("."),
                   env=os.environ | stage.env, check=True)
    print(f"    {time.monotonic() - begin:.0f} s", flush=True)


def build(directory):
    """Executes all stages; returns the last one, which is the image."""
    stages, stage = {}, None
    # The caller's target directory or flags would change the build.
    for name in ["CARGO_TARGET_DIR", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"]:
        os.environ.pop(name, None)
    for name, text in instructions((ROOT / "Dockerfile").read_text()):
        words = shlex.split(text)
        match name:
            case "FROM":
                stage = Stage(directory / str(len(stages)))
                stages[words[2] if len(words) > 2 else str(len(stages))] = stage
                stage.path(".").mkdir()
            case "WORKDIR":
                stage.workdir = os.path.join(stage.workdir, text)
                stage.path(".").mkdir(parents=True, exist_ok=True)
            case "COPY":
                do_copy(words, stage, stages)
            case "RUN":
                do_run(text, stage)
            case "ENV":
                stage.env |= dict(word.split("=", 1) for word in words)
            case "USER":
                stage.user = [int(part) for part in text.split(":")]
            case "ENTRYPOINT" | "CMD":
                stage.settings[name] = json.loads(text)
            case "HEALTHCHECK":
                stage.settings[name] = json.loads(text.split("CMD", 1)[1])
            case "VOLUME":
                stage.settings[name] = text
            case "ARG" | "LABEL" | "EXPOSE":
                pass
            case _:
                sys.exit(f"{name} is not supported: add it to deploy/docker/dry-run.py")
    return stage


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def check(right, what):
    print(("ok   " if right else "FAIL ") + what, flush=True)
    if not right:
        sys.exit(1)


def try_out(image):
    """Starts the image and runs its health check, as a container engine would."""
    volume, binary = image.settings["VOLUME"], image.path(image.settings["ENTRYPOINT"][0])
    data = binary.read_bytes()
    print(f"{binary.name}: {len(data) / 2**20:.1f} MiB, sha256 {hashlib.sha256(data).hexdigest()}")
    linked = subprocess.run(["ldd", binary], capture_output=True, text=True, check=True).stdout
    linked = {Path(line.split()[0]).name for line in linked.splitlines()}
    check(linked <= LIBRARIES, f"links only to libraries of the base: {', '.join(sorted(linked))}")

    # The image's settings with the volume's path on this machine, and the options of `docker run`.
    env = {name: value.replace(volume, str(image.path(volume))) for name, value in image.env.items()}
    env |= {
        "PURGEFRONT_SNS__TOPICS": json.dumps([TOPIC]),
        "PURGEFRONT_SERVER__LISTEN": f"0.0.0.0:{free_port()}",
        "PURGEFRONT_SERVER__ADMIN_LISTEN": f"127.0.0.1:{free_port()}",
        # It must start without AWS, and must not contact AWS.
        "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
        "HTTPS_PROXY": "http://127.0.0.1:9",
    }
    how = {"env": env, "cwd": image.path(".")}
    if os.geteuid() == 0:
        how |= {"user": image.user[0], "group": image.user[1], "extra_groups": []}

    def health():
        command = [str(binary), *image.settings["HEALTHCHECK"][1:]]
        return subprocess.run(command, capture_output=True, text=True, **how)

    check(health().returncode == 1, "before the start, the health check exits with 1")
    command = [str(binary), *image.settings["ENTRYPOINT"][1:], *image.settings["CMD"]]
    with tempfile.TemporaryFile("w+") as log:
        service = subprocess.Popen(command, stdout=log, stderr=log, **how)
        try:
            for _ in range(100):
                answer = health()
                if answer.returncode == 0 or service.poll() is not None:
                    break
                time.sleep(0.1)
            if answer.returncode != 0:
                log.seek(0)
                print(log.read(), answer.stderr)
            check(answer.returncode == 0 and not answer.stdout + answer.stderr,
                  "after the start, the health check exits with 0 and prints nothing")
            stored = list(image.path(volume).glob("*.db"))
            check(bool(stored), f"the store is in the volume, as user {image.user[0]}")
            service.terminate()
            check(service.wait(30) == 0, "after SIGTERM, it exits with 0")
        finally:
            service.kill()
    check(health().returncode == 1, "after the stop, the health check exits with 1")


def main():
    with tempfile.TemporaryDirectory(prefix="purgefront-image-") as directory:
        # The image's user needs access to its files.
        os.chmod(directory, 0o755)
        try_out(build(Path(directory)))


if __name__ == "__main__":
    main()
