"""Records the messages that moto's SNS posts to a subscriber, as seeds for envelope and records.

    .venv/bin/python fuzz/seeds/from_moto.py    (`make demo` creates .venv)
"""

import http.server
import json
import pathlib
import threading

import boto3
from moto.server import ThreadedMotoServer

SEEDS = pathlib.Path(__file__).parent
KEYS = ["index.html", "a b+c/é \"1\".html", "vendors~main.js"]
bodies = []


class Subscriber(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def main():
    moto = ThreadedMotoServer("127.0.0.1", 0)
    moto.start()
    host, port = moto.get_host_and_port()
    subscriber = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Subscriber)
    threading.Thread(target=subscriber.serve_forever, daemon=True).start()

    def client(service):
        return boto3.client(
            service, endpoint_url=f"http://{host}:{port}", region_name="us-east-1",
            aws_access_key_id="test", aws_secret_access_key="test",
        )

    sns, s3 = client("sns"), client("s3")
    topic = sns.create_topic(Name="site-changes")["TopicArn"]
    endpoint = f"http://127.0.0.1:{subscriber.server_port}/sns"
    sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=endpoint)
    s3.create_bucket(Bucket="site")
    s3.put_bucket_notification_configuration(
        Bucket="site",
        NotificationConfiguration={"TopicConfigurations": [
            {"TopicArn": topic, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}
        ]},
    )
    for key in KEYS:
        s3.put_object(Bucket="site", Key=key, Body=b"x")
    s3.delete_object(Bucket="site", Key=KEYS[0])
    moto.stop()

    texts = []
    for number, body in enumerate(bodies):
        (SEEDS / "envelope" / f"moto-{number}.json").write_bytes(body)
        texts.append(json.loads(body)["Message"])
    for number, text in enumerate(texts):
        if text.startswith("{"):
            (SEEDS / "records" / f"moto-{number}.json").write_text(text)
    print(f"{len(bodies)} messages")


main()
