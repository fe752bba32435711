"""The lock of the kubernetes client, kept in a file instead of an API server.

The client takes any object with these methods; the real one is a ConfigMap. What the API server
does is kept: an update of a version that is not the newest is a conflict.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

# By name, since this part of the client has no types.
_records: Any = import_module("kubernetes.leaderelection.leaderelectionrecord")
_FIELDS = ("holder_identity", "lease_duration", "acquire_time", "renew_time")


class NotFound(NamedTuple):
    """What the client is answered when there is no such object."""

    body: str = '{"code": 404}'
    reason: str = "Not Found"


class FileLock:
    """One object, as one candidate sees it.

    Args:
        file: where it is kept.
        identity: of the candidate.
    """

    def __init__(self, file: Path, identity: str) -> None:
        self.name, self.namespace, self.identity = file.name, "bench", identity
        self._file = file
        self._version = 0

    def get(self, _name: str, _namespace: str) -> tuple[bool, object]:
        """The record; with False, why there is none."""
        with self._alone():
            self._version, fields = self._read()
        if fields is None:
            return False, NotFound()
        return True, _records.LeaderElectionRecord(*fields)

    def create(self, name: str, namespace: str, election_record: object) -> bool:
        """Make it; False if somebody else did."""
        return self.update(name, namespace, election_record)

    def update(self, _name: str, _namespace: str, updated_record: object) -> bool:
        """Replace the version that was read; False if it is not the newest any more."""
        fields = [getattr(updated_record, field) for field in _FIELDS]
        with self._alone():
            version, _ = self._read()
            if version != self._version:
                return False
            fresh = self._file.with_suffix(f".{os.getpid()}")
            fresh.write_text(json.dumps([version + 1, fields]))
            fresh.replace(self._file)
        return True

    def _read(self) -> tuple[int, list[str] | None]:
        """The version and the fields; 0 and None if there is nothing."""
        if not self._file.exists():
            return 0, None
        version, fields = json.loads(self._file.read_text())
        return version, fields

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._file.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
