"""Watch an S3 upload become a CloudFront invalidation, without AWS.

moto, running as a proxy on this machine, emulates S3, SNS and CloudFront under their real host
names. purgefront runs as in production: it connects to the same host names through the proxy,
verifies SNS's certificate and signature, and creates the invalidation. It has no code for the demo.
"""

import argparse
import http.client
import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path

try:
    import boto3
    import moto.moto_proxy
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError as missing:
    sys.exit(f"The demo requires moto and boto3 ({missing}). `make demo` installs them.")

ROOT = Path(__file__).resolve().parents[2]
REGION = "us-east-1"
BUCKET = "demo-site"
TOPIC = f"arn:aws:sns:{REGION}:123456789012:site-changes"
AWS = {
    "AWS_ACCESS_KEY_ID": "demo", "AWS_SECRET_ACCESS_KEY": "demo",
    "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION,
}
PATIENCE = 60  # timeout of every wait, in seconds
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Ignores the proxies of this machine.
ask = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

# The uploaded keys, and the paths that must be invalidated for each. The origin of the site has the
# origin path /site, which viewers never see, and /assets/* is a behaviour with its own origin. Only
# non-ASCII characters and the bytes that RFC 1738 calls unsafe are percent-encoded, and the "+", which
# S3 reads as a space. So viewers can write a space in two ways, and CloudFront caches both.
UPLOADS = {
    "site/index.html": ["/index.html", "/"],  # the default root object is also served for "/"
    "assets/logo@2x.png": ["/assets/logo@2x.png"],
    "site/news/a b+c 100% é.html": [
        "/news/a%20b%2Bc%20100%25%20%C3%A9.html", "/news/a+b%2Bc+100%25+%C3%A9.html",
    ],
    "drafts/secret.html": [],  # outside every origin path: nothing to invalidate or to pay for
}
EXPLAINED = "site/news/a b+c 100% é.html"
DELETED = ("site/old/page.html", "/old/page.html")
ASKED = "/about/*"


class Failed(Exception):
    """The demo did not get the expected result; the text says what is missing."""


class Stopped(BaseException):
    """A signal requested termination."""


# Errors that do not indicate a bug in the demo.
EXPECTED = (Failed, BotoCoreError, ClientError, OSError, http.client.HTTPException, ValueError)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--keep", action="store_true", help="keep everything running afterwards")
    binary = ROOT / "target" / "debug" / "purgefront"
    arguments.add_argument("--binary", type=Path, default=binary, help="the purgefront to run")
    options = arguments.parse_args()
    sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
    clean_environment()
    for number in SIGNALS:
        signal.signal(number, stop_once)
    try:
        with ExitStack() as stack:
            try:
                return show(Demo(stack), options)
            finally:  # do not interrupt the cleanup
                signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
                with suppress(OSError):
                    print("Stopping moto and purgefront.")
    except Stopped as stopped:
        return 128 + stopped.args[0]


def show(demo, options):
    """Runs the demo. If it fails, prints the logs before they are deleted."""
    try:
        demo.start(options.binary.absolute())
        demo.run(options.keep)
        return 0
    except EXPECTED as failure:
        demo.show_logs()
        print(f"\nThe demo failed: {failure}", file=sys.stderr)
        return 1


class Demo:
    """moto, purgefront, and the steps of the demo."""

    def __init__(self, stack):
        self.stack = stack
        self.home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="purgefront-")))
        self.token = secrets.token_hex(16)
        self.proxy, self.listen, self.admin = (f"127.0.0.1:{port}" for port in free_ports(3))
        self.url = f"http://{self.listen}"
        self.ca = Path(moto.moto_proxy.__file__).parent / "ca.crt"
        self.processes = {}

    def start(self, binary):
        if not binary.is_file():
            raise Failed(f"{binary} does not exist; run `cargo build`")
        if not shutil.which("openssl"):
            raise Failed("moto needs the openssl command, which is not on the PATH")
        config = self.home / "purgefront.toml"
        config.write_text(
            f'[server]\nlisten = "{self.listen}"\nadmin_listen = "{self.admin}"\n'
            f'[store]\nurl = "sqlite://{self.home}/purgefront.db"\n'
            f'[sns]\ntopics = ["{TOPIC}"]\n'
        )
        print("Starting moto, which emulates S3, SNS and CloudFront on this machine.")
        port = self.proxy.rsplit(":", 1)[1]
        proxy = Path(sys.executable).parent / "moto_proxy"
        self.spawn("moto", proxy, "-H", "127.0.0.1", "-p", port, env=os.environ)
        self.wait_for("moto to listen", lambda: can_connect(self.proxy))
        self.s3, self.sns, self.cloudfront = (self.client(n) for n in ("s3", "sns", "cloudfront"))
        self.distribution = self.make_distribution()
        print("Starting purgefront.")
        ours = {"PURGEFRONT_API_TOKEN": self.token, "SSL_CERT_FILE": str(self.ca)}
        environment = os.environ | self.aws() | ours
        self.spawn("purgefront", binary, "serve", "--config", config, env=environment)
        self.wait_for("purgefront to be ready", self.is_ready)
        self.client_command = (binary, "why", "--config", config)
        self.client_environment = os.environ | {"PURGEFRONT_API_TOKEN": self.token}

    def spawn(self, name, *command, env):
        """Starts a process that is stopped in any case. Its log is in the demo's directory."""
        # Block signals until the process is registered for cleanup. It gets its own process group, so
        # that Ctrl-C reaches only the demo.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            with (self.home / f"{name}.log").open("wb") as log:
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env,
                    cwd=self.home, start_new_session=True, preexec_fn=let_signals_through,
                )
            self.stack.callback(stop, process)
            self.processes[name] = process
        finally:
            let_signals_through()

    def wait_for(self, what, condition):
        """Waits for a condition; prints what it is waiting for if that takes long."""
        begun = said = time.monotonic()
        while not condition():
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise Failed(f"{name} exited unexpectedly (exit status {process.returncode})")
            now = time.monotonic()
            if now - begun > PATIENCE:
                raise Failed(f"timed out after {PATIENCE} s, waiting for {what}")
            if now - said > 5:
                print(f"  ... still waiting for {what} ({now - begun:.0f} s of {PATIENCE})")
                said = now
            time.sleep(0.1)

    def run(self, keep):
        self.subscribe()
        self.show_uploads()
        self.show_request()
        if keep:
            self.play()
        else:
            print("\nTo try it yourself: make demo KEEP=1")

    def aws(self):
        """The environment that makes the AWS SDKs and CLI use moto."""
        return AWS | {"HTTPS_PROXY": f"http://{self.proxy}", "AWS_CA_BUNDLE": str(self.ca)}

    def client(self, service):
        # moto waits for the webhook during an upload, so limit that. It has also been seen to drop
        # connections, and all requests of the demo can safely be retried.
        patience = {"read_timeout": 20, "retries": {"total_max_attempts": 3}}
        config = Config(proxies={"https": f"http://{self.proxy}"}, **patience)
        return boto3.client(service, verify=str(self.ca), config=config)

    def make_distribution(self):
        self.s3.create_bucket(Bucket=BUCKET)
        origins = [
            {
                "Id": name,
                "DomainName": f"{BUCKET}.s3.{REGION}.amazonaws.com",
                "OriginPath": path,
                "S3OriginConfig": {"OriginAccessIdentity": ""},
            }
            for name, path in (("site", "/site"), ("assets", ""))
        ]
        # CachingOptimized. Without a policy, moto says that nothing may be cached (MaxTTL 0).
        policy = {"CachePolicyId": "658327ea-f89d-4fab-a63d-7e88639e58f6"}
        behaviour = {"ViewerProtocolPolicy": "redirect-to-https"} | policy
        assets = behaviour | {"PathPattern": "/assets/*", "TargetOriginId": "assets"}
        config = {
            "CallerReference": "demo", "Comment": "demo", "Enabled": True,
            "DefaultRootObject": "index.html",
            "Origins": {"Quantity": len(origins), "Items": origins},
            "CacheBehaviors": {"Quantity": 1, "Items": [assets]},
            "DefaultCacheBehavior": behaviour | {"TargetOriginId": "site"},
        }
        made = self.cloudfront.create_distribution(DistributionConfig=config)
        return made["Distribution"]["Id"]

    def subscribe(self):
        """Sets up what the owner of a bucket sets up once, in the console or with Terraform."""
        self.sns.create_topic(Name=TOPIC.rsplit(":", 1)[1])
        self.sns.subscribe(TopicArn=TOPIC, Protocol="http", Endpoint=f"{self.url}/sns")
        events = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]
        configuration = {"TopicConfigurations": [{"TopicArn": TOPIC, "Events": events}]}
        # Create the object to delete before notifications are enabled.
        self.s3.put_object(Bucket=BUCKET, Key=DELETED[0], Body=b"old")
        self.s3.put_bucket_notification_configuration(
            Bucket=BUCKET, NotificationConfiguration=configuration
        )

    def show_uploads(self):
        print(f"\nBucket {BUCKET} -> topic -> purgefront -> distribution {self.distribution}")
        print("(origin path /site, a behaviour for /assets/*, root object index.html)\n")
        for key in UPLOADS:
            self.s3.put_object(Bucket=BUCKET, Key=key, Body=b"hello")
            print(f"  uploaded     {key}")
        self.s3.delete_object(Bucket=BUCKET, Key=DELETED[0])
        print(f"  deleted      {DELETED[0]}")
        begun = time.monotonic()
        expected = {path for paths in UPLOADS.values() for path in paths} | {DELETED[1]}
        print("\nWaiting for CloudFront to list the invalidation ...")
        invalidations = self.wait_for_paths(expected)
        took = time.monotonic() - begun
        print()
        for invalidation, paths in invalidations.items():
            for path in paths:
                print(f"  invalidated  {path}   ({invalidation})")
        unexpected = set().union(*invalidations.values()) - expected
        if unexpected:
            raise Failed(f"CloudFront was asked for more than changed: {sorted(unexpected)}")
        print(f"\nCloudFront had everything {took:.1f} s after the last change.")
        path = UPLOADS[EXPLAINED][0]
        self.show_why(next(one for one, paths in invalidations.items() if path in paths), path)
        self.show_stories()

    def show_why(self, invalidation, path):
        def is_noted():  # CloudFront may list it before purgefront has the response
            noted = self.api("GET", "/invalidations")["invalidations"]
            return invalidation in [one["cloudfront_id"] for one in noted]

        self.wait_for("purgefront to record CloudFront's response", is_noted)
        items = self.api("GET", f"/invalidations/{invalidation}")["items"]
        why = next((item["why"][0] for item in items if item["item"] == path), None)
        if not why:
            raise Failed(f"purgefront does not know why it sent {path}")
        print(f"Why {path}? {why['event']} of {why['key']} in {why['bucket']}:")
        print(f"  {why['because']}.")

    def show_stories(self):
        """Prints what became of an object's change, from upload to Completed, and of one that needs nothing."""
        for key, end in ((EXPLAINED, "completed"), ("drafts/secret.html", "skipped")):
            query = urllib.parse.urlencode({"bucket": BUCKET, "key": key})

            def has_ended():
                changes = self.api("GET", f"/changes?{query}")["changes"]
                return [change["state"] for change in changes] == [end]

            self.wait_for(f"the change of {key} to end as {end}", has_ended)
            command = [*self.client_command, BUCKET, key]
            told = subprocess.run(command, env=self.client_environment, capture_output=True, text=True)
            if told.returncode:
                raise Failed(f"purgefront why returned {told.returncode}: {told.stderr}")
            print(f"\n$ purgefront why {BUCKET} {shlex.quote(key)}\n{told.stdout.rstrip()}")

    def show_request(self):
        print("\nThe same can be requested with curl:\n")
        print(indent(self.curl("$TOKEN")))
        body = {"distribution_id": self.distribution, "paths": [ASKED], "reason": "demo"}
        request = self.api("POST", "/invalidate", body, wants=202)

        def is_sent():
            now = self.api("GET", f"/requests/{request['id']}")
            if now["state"] == "failed":
                raise Failed(f"the request failed: {now['errors']}")
            return now["state"] in ("submitted", "completed")

        self.wait_for("the request to be sent", is_sent)
        self.wait_for_paths({ASKED})
        print(f"\n  invalidated  {ASKED}   (request {request['id']})")

    def wait_for_paths(self, expected):
        """Waits until CloudFront lists all expected paths; returns its invalidations by id."""
        def missing():
            return sorted(expected - set().union(*self.listed().values()))

        try:
            self.wait_for("CloudFront to list the invalidation", lambda: not missing())
        except Failed as failure:
            raise Failed(f"CloudFront was not asked to invalidate {missing()}: {failure}") from None
        return self.listed()

    def listed(self):
        here = {"DistributionId": self.distribution}
        listing = self.cloudfront.list_invalidations(**here)["InvalidationList"]
        ids = [summary["Id"] for summary in listing.get("Items", [])]
        got = [self.cloudfront.get_invalidation(Id=one, **here)["Invalidation"] for one in ids]
        return {one["Id"]: one["InvalidationBatch"]["Paths"]["Items"] for one in got}

    def api(self, method, path, body=None, wants=200):
        data = json.dumps(body).encode() if body else None
        headers = {"Authorization": f"Bearer {self.token}"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with ask(request, timeout=10) as answer:
                status, text = answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read().decode(errors="replace")
        if status != wants:
            raise Failed(f"{method} {path} returned {status} instead of {wants}: {text}")
        return json.loads(text)

    def is_ready(self):
        with suppress(OSError, http.client.HTTPException):
            return ask(f"{self.url}/readyz", timeout=2).status == 200

    def curl(self, token):
        body = json.dumps({"distribution_id": self.distribution, "paths": [ASKED]})
        auth = f'-H "Authorization: Bearer {token}"'
        return f"curl {self.url}/invalidate \\\n  {auth} \\\n  -d '{body}'"

    def play(self):
        bearer = f'-H "Authorization: Bearer {self.token}"'
        exports = "\n".join(f"export {name}={value}" for name, value in self.aws().items())
        for title, lines in {
            "Everything keeps running until Ctrl-C. Request an invalidation": self.curl(self.token),
            "List the invalidations": f"curl {self.url}/invalidations {bearer}",
            "Show the metrics": f"curl http://{self.admin}/metrics",
            "Upload with the AWS CLI (or boto3), in a shell with this environment":
                f"{exports}\necho hello | aws s3 cp - s3://{BUCKET}/hello.txt",
        }.items():
            print(f"\n{title}:\n\n{indent(lines)}")
        while all(process.poll() is None for process in self.processes.values()):
            time.sleep(0.5)
        raise Failed("moto or purgefront exited unexpectedly")

    def show_logs(self):
        """Prints the last lines of the logs."""
        for name in self.processes:
            lines = (self.home / f"{name}.log").read_text(errors="replace").splitlines()
            print("\n".join(["", f"The end of {name}'s log:", *lines[-20:]]), file=sys.stderr)


def stop(process):
    """Terminates a process, then kills what is left of its group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        # If the group is empty, Linux raises ProcessLookupError and macOS PermissionError.
        with suppress(ProcessLookupError, PermissionError, subprocess.TimeoutExpired):
            os.killpg(process.pid, number)
            process.wait(timeout=10)


def stop_once(number, _frame):
    """The first signal ends the demo. Further ones are blocked, so the cleanup can finish."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    raise Stopped(number)


def let_signals_through():
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def free_ports(count):
    """Finds free ports. All are held until the last is found, so that they differ."""
    with ExitStack() as stack:
        held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
        return [stack.enter_context(one).getsockname()[1] for one in held]


def can_connect(address):
    host, port = address.split(":")
    with suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
        return True


def clean_environment():
    """Removes the user's proxies and AWS settings, so that only the demo's apply."""
    theirs = ("AWS_", "PURGEFRONT_", "SSL_CERT_")
    for name in list(os.environ):
        if name.startswith(theirs) or name.lower().endswith("_proxy"):
            del os.environ[name]
    files = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), os.devnull)
    os.environ.update(AWS | files)


def indent(text):
    return textwrap.indent(text, "  ")


if __name__ == "__main__":
    sys.exit(main())
