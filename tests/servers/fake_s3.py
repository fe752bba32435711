"""A fake of S3 in a few lines, for what no real server here does: to ignore the conditions.

It keeps objects in memory, checks no signature, and obeys only those conditions it was told to.
"""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BUCKET = "elections"
ALL = frozenset({"If-Match", "If-None-Match"})


class FakeS3(ThreadingHTTPServer):
    """Objects by path.

    Args:
        obeys: the headers that it looks at when it is to write.
        status: what it answers to every write, if given.
    """

    name = "fake S3"
    emulator = True
    daemon_threads = True

    def __init__(self, obeys: frozenset[str], status: int | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Requests)
        self.obeys, self.status = obeys, status
        self.objects: dict[str, bytes] = {}
        self.writes: list[str] = []
        self.turn = threading.Lock()

    @property
    def url(self) -> str:
        """Of a store there."""
        return f"s3://{BUCKET}/fake?endpoint=http://127.0.0.1:{self.server_port}&poll=100ms"


class _Requests(BaseHTTPRequestHandler):
    server: FakeS3
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        with self.server.turn:
            data = self.server.objects.get(self.path)
        if data is None:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        elif self.headers["If-None-Match"] == _tag(data):
            self._answer(304)
        else:
            self._answer(200, data, _tag(data))

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.turn:
            self.server.writes.append(self.path)
            if self.server.status is not None:
                self._answer(self.server.status)
                return
            if self._is_refused(self.server.objects.get(self.path)):
                self._answer(412)
                return
            self.server.objects[self.path] = data
        self._answer(200, b"", _tag(data))

    def _is_refused(self, old: bytes | None) -> bool:
        asked = {header: self.headers[header] for header in self.server.obeys}
        if asked.get("If-None-Match") == "*" and old is not None:
            return True
        wanted = asked.get("If-Match")
        return wanted is not None and (old is None or wanted != _tag(old))

    def _answer(self, status: int, data: bytes = b"", tag: str = '""') -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", tag)
        self.send_header("Last-Modified", "Thu, 01 Jan 1970 00:00:00 GMT")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _tag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


@contextmanager
def fake_s3(obeys: frozenset[str] = ALL, status: int | None = None) -> Iterator[FakeS3]:
    """One fake, for as long as the block lasts."""
    with FakeS3(obeys, status) as fake:
        thread = threading.Thread(target=fake.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield fake
        finally:
            fake.shutdown()
            thread.join()
