"""Watch an upload to S3 become a CloudFront invalidation, on a machine without AWS.

moto (a proxy on this machine) plays S3, SNS and CloudFront under their real host names.
purgefront runs as it would in production: it speaks to the same host names through the
proxy, checks SNS's certificate and signature, and makes the invalidation. Nothing in it
knows that this is a demo.
"""

import argparse
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path

import boto3
import moto.moto_proxy
from botocore.config import Config

ROOT = Path(__file__).resolve().parents[2]
REGION = "us-east-1"
BUCKET = "demo-site"
ACCOUNT = "123456789012"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:site-changes"
PATIENCE = 60  # seconds, for anything that has to come

# What is uploaded, and the path under which CloudFront has to drop it: only non-ASCII and
# the bytes that RFC 1738 calls unsafe are percent-encoded, anything else would miss.
UPLOADS = {
    "index.html": "/index.html",
    "img/logo@2x.png": "/img/logo@2x.png",
    "news/a b+c 100% é.html": "/news/a%20b+c%20100%25%20%C3%A9.html",
}
DELETED = ("old/page.html", "/old/page.html")
ASKED = "/about/*"


class Failed(Exception):
    """The demo did not show what it promises; the text says what is missing."""


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--keep", action="store_true", help="leave it running for play")
    keep = arguments.parse_args().keep
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with ExitStack() as stack:
            Demo(stack).run(keep)
    except Failed as failure:
        print(f"\nThe demo failed: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.")
        return 130
    return 0


class Demo:
    """moto, purgefront, and what happens between them."""

    def __init__(self, stack):
        self.home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="purgefront-")))
        self.token = secrets.token_hex(16)
        self.proxy, listen, admin = (f"127.0.0.1:{port}" for port in free_ports(3))
        self.url, self.admin_url = f"http://{listen}", f"http://{admin}"
        self.ca = Path(moto.moto_proxy.__file__).parent / "ca.crt"
        (self.home / "purgefront.toml").write_text(
            f'[server]\nlisten = "{listen}"\nadmin_listen = "{admin}"\n'
            f'[store]\nurl = "sqlite://{self.home}/purgefront.db"\n'
            f'[sns]\ntopics = ["{TOPIC}"]\n'
        )
        print("Starting moto, which plays S3, SNS and CloudFront on this machine.")
        port = self.proxy.rsplit(":", 1)[1]
        proxy = [str(Path(sys.executable).parent / "moto_proxy"), "-H", "127.0.0.1", "-p", port]
        stack.enter_context(running("moto", proxy, self.home, without_proxies(os.environ)))
        wait_for("moto", lambda: can_connect(self.proxy))
        self.s3, self.sns, self.cloudfront = (self.client(n) for n in ("s3", "sns", "cloudfront"))
        self.distribution = self.make_distribution()
        print("Starting purgefront.")
        binary = ROOT / "target" / "debug" / "purgefront"
        command = [str(binary), "serve", "--config", str(self.home / "purgefront.toml")]
        stack.enter_context(running("purgefront", command, self.home, self.environment()))
        wait_for("purgefront to be ready", self.is_ready)

    def run(self, keep):
        self.subscribe()
        self.show_uploads()
        self.show_request()
        if keep:
            self.play()
        else:
            print("\nTo play with it yourself: make demo KEEP=1")

    def environment(self):
        """How purgefront reaches "AWS": by what the AWS SDK and CLI honour anyway."""
        return without_proxies(os.environ) | self.aws() | {
            "PURGEFRONT_API_TOKEN": self.token,
            "SSL_CERT_FILE": str(self.ca),
        }

    def aws(self):
        return {
            "HTTPS_PROXY": f"http://{self.proxy}",
            "AWS_CA_BUNDLE": str(self.ca),
            "AWS_ACCESS_KEY_ID": "demo",
            "AWS_SECRET_ACCESS_KEY": "demo",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }

    def client(self, service):
        return boto3.client(
            service,
            region_name=REGION,
            aws_access_key_id="demo",
            aws_secret_access_key="demo",
            verify=str(self.ca),
            config=Config(proxies={"https": f"http://{self.proxy}"}),
        )

    def make_distribution(self):
        self.s3.create_bucket(Bucket=BUCKET)
        origin = {
            "Id": "site",
            "DomainName": f"{BUCKET}.s3.{REGION}.amazonaws.com",
            "S3OriginConfig": {"OriginAccessIdentity": ""},
        }
        config = {
            "CallerReference": "demo",
            "Comment": "demo",
            "Enabled": True,
            "DefaultRootObject": "index.html",
            "Origins": {"Quantity": 1, "Items": [origin]},
            "DefaultCacheBehavior": {
                "TargetOriginId": "site",
                "ViewerProtocolPolicy": "redirect-to-https",
            },
        }
        made = self.cloudfront.create_distribution(DistributionConfig=config)
        return made["Distribution"]["Id"]

    def subscribe(self):
        """What an owner of a bucket does once, in the console or in Terraform."""
        self.sns.create_topic(Name=TOPIC.rsplit(":", 1)[1])
        self.sns.subscribe(TopicArn=TOPIC, Protocol="http", Endpoint=f"{self.url}/sns")
        events = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]
        configuration = {"TopicConfigurations": [{"TopicArn": TOPIC, "Events": events}]}
        # The object to delete is there before anybody listens.
        self.s3.put_object(Bucket=BUCKET, Key=DELETED[0], Body=b"old")
        self.s3.put_bucket_notification_configuration(
            Bucket=BUCKET, NotificationConfiguration=configuration
        )

    def show_uploads(self):
        print(f"\nBucket {BUCKET} -> topic -> purgefront -> distribution {self.distribution}\n")
        for key in UPLOADS:
            self.s3.put_object(Bucket=BUCKET, Key=key, Body=b"hello")
            print(f"  uploaded     {key}")
        self.s3.delete_object(Bucket=BUCKET, Key=DELETED[0])
        print(f"  deleted      {DELETED[0]}")
        begun = time.monotonic()
        # The root object is what viewers get for "/", too.
        expected = {*UPLOADS.values(), DELETED[1], "/"}
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
        print(f"\n{took:.1f} s after the last change, CloudFront had it all.")
        self.show_why(next(iter(invalidations)), UPLOADS["news/a b+c 100% é.html"])

    def show_why(self, invalidation, path):
        detail = self.api("GET", f"/invalidations/{invalidation}")
        items = [item for item in detail["items"] if item["item"] == path]
        if not items:
            raise Failed(f"purgefront does not know why it sent {path}")
        why = items[0]["why"][0]
        print(f"Why {path}? {why['event']} of {why['key']} in {why['bucket']}.")

    def show_request(self):
        print("\nPeople ask for the same with curl:\n")
        print(indent(self.curl("$TOKEN")))
        body = {"distribution_id": self.distribution, "paths": [ASKED], "reason": "demo"}
        request = self.api("POST", "/invalidate", body)
        path = f"/requests/{request['id']}"
        wait_for("the request", lambda: self.api("GET", path)["state"] in ("submitted", "completed"))
        self.wait_for_paths({ASKED})
        print(f"\n  invalidated  {ASKED}   (request {request['id']})")

    def wait_for_paths(self, expected):
        found = {}

        def all_there():
            found.update(self.listed())
            return expected <= {path for paths in found.values() for path in paths}

        try:
            wait_for("CloudFront to list the invalidation", all_there)
        except Failed:
            missing = expected - {path for paths in found.values() for path in paths}
            show_log(self.home / "purgefront.log")
            raise Failed(f"CloudFront was never asked to drop {sorted(missing)}") from None
        return found

    def listed(self):
        """What CloudFront lists: ids, and their paths."""
        listing = self.cloudfront.list_invalidations(DistributionId=self.distribution)
        found = {}
        for summary in listing["InvalidationList"].get("Items", []):
            invalidation = self.cloudfront.get_invalidation(
                DistributionId=self.distribution, Id=summary["Id"]
            )["Invalidation"]
            found[summary["Id"]] = invalidation["InvalidationBatch"]["Paths"]["Items"]
        return found

    def api(self, method, path, body=None):
        data = json.dumps(body).encode() if body else None
        headers = {"Authorization": f"Bearer {self.token}"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with opener().open(request, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise Failed(f"{method} {path} was answered {error.code}: {error.read().decode()}") from None

    def is_ready(self):
        try:
            with opener().open(f"{self.url}/readyz", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def curl(self, token):
        body = json.dumps({"distribution_id": self.distribution, "paths": [ASKED]})
        return f"curl {self.url}/invalidate \\\n  -H 'Authorization: Bearer {token}' \\\n  -d '{body}'"

    def play(self):
        print("\nIt goes on until Ctrl-C. Ask purgefront for an invalidation:\n")
        print(indent(self.curl(self.token)))
        print("\nSee what it did, and what it counts:\n")
        header = f"-H 'Authorization: Bearer {self.token}'"
        print(indent(f"curl {self.url}/invalidations {header}\ncurl {self.admin_url}/metrics"))
        print("\nUpload with the AWS CLI, in a shell with this environment:\n")
        lines = [f"export {name}={value}" for name, value in self.aws().items()]
        lines += ["echo hello | aws s3 cp - s3://demo-site/hello.txt"]
        print(indent("\n".join(lines)), flush=True)
        while True:
            time.sleep(3600)


@contextmanager
def running(name, command, home, environment):
    """A process that is stopped in any case, with its log in the demo's home."""
    with (home / f"{name}.log").open("wb") as log:
        try:
            # A group of its own: Ctrl-C is for us, and we stop it.
            process = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, cwd=home, start_new_session=True
            )
        except OSError as error:
            raise Failed(f"{name} cannot be started: {error}") from None
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(what, condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"waited {PATIENCE} s in vain for {what}")
        time.sleep(0.1)


def free_ports(count):
    """Ports that are free now; all are held until all are known."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def can_connect(address):
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
        return True
    except OSError:
        return False


def without_proxies(environment):
    return {name: value for name, value in environment.items() if not name.lower().endswith("_proxy")}


def opener():
    """Asks directly, whatever proxies the environment names."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def show_log(path):
    lines = path.read_text(errors="replace").splitlines()[-20:]
    print("\n".join(["", "The end of purgefront's log:", *lines]), file=sys.stderr)


def indent(text):
    return "\n".join("  " + line for line in text.splitlines())


if __name__ == "__main__":
    sys.exit(main())
