"""Azurite, an emulator of Azure Blob Storage, with one container; from npm, if it is installed.

An emulator: what it does under races and faults is not what Azure does. It keeps its data in the
place it was given, knows one key of our making, and does not phone home.
"""

import base64
import contextlib
import hashlib
import hmac
import secrets
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

from tests.servers.process import Server, ServerProcess, free_port

PROGRAM = shutil.which("azurite-blob")
CONTAINER = "elections"
_ACCOUNT = "elector"
_VERSION = "2023-11-03"


class AzureServer(Server):
    """One emulator with one container."""

    name = "Azurite"
    emulator = True

    def __init__(self, place: Path) -> None:
        place.mkdir(parents=True, exist_ok=True)
        assert PROGRAM is not None, "azurite-blob is not installed"
        self.port = free_port()
        self._key = base64.b64encode(secrets.token_bytes(32)).decode()
        self.env = {
            "AZURE_STORAGE_ACCOUNT_NAME": _ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": self._key,
        }
        self.process = ServerProcess(
            [
                *(PROGRAM, "--silent", "--disableTelemetry", "--skipApiVersionCheck"),
                *("--location", place, "--blobHost", "127.0.0.1", "--blobPort", str(self.port)),
            ],
            self._has_a_container,
            place / "server.log",
            {"AZURITE_ACCOUNTS": f"{_ACCOUNT}:{self._key}"},
        )

    @property
    def url(self) -> str:
        """Of the elections in its container; who waits looks more often than elsewhere."""
        return self.url_via(self.port)

    def url_via(self, port: int, query: str = "&poll=100ms") -> str:
        """The same through a proxy, or with other options."""
        endpoint = f"http://127.0.0.1:{port}/{_ACCOUNT}"
        return f"az://{CONTAINER}/tests?endpoint={endpoint}{query}"

    def _has_a_container(self) -> bool:
        """Make it, if need be."""
        path, date = f"/{_ACCOUNT}/{CONTAINER}", formatdate(usegmt=True)
        headers = f"x-ms-date:{date}\nx-ms-version:{_VERSION}"
        signed = "PUT" + "\n" * 12 + f"{headers}\n/{_ACCOUNT}{path}\nrestype:container"
        digest = hmac.digest(base64.b64decode(self._key), signed.encode(), hashlib.sha256)
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}?restype=container",
            method="PUT",
            headers={
                "x-ms-date": date,
                "x-ms-version": _VERSION,
                "Authorization": f"SharedKey {_ACCOUNT}:{base64.b64encode(digest).decode()}",
                "Content-Length": "0",
            },
        )
        try:
            urllib.request.urlopen(request, timeout=5).close()  # noqa: S310
        except urllib.error.HTTPError as error:
            return error.code == 409
        except OSError:
            return False
        return True


@contextlib.contextmanager
def azure_server(place: Path) -> Iterator[AzureServer]:
    """One emulator, for as long as the block lasts."""
    server = AzureServer(place)
    try:
        server.start()
        yield server
    finally:
        server.stop()
