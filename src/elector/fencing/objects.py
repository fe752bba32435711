"""A guard for objects in S3, GCS and Azure Blob: If-Match, with the token in the metadata.

Model
    The object is the resource, and the metadata of each version of it say under which token
    it was written. A writer reads them, gives way to a newer token, and puts its own version
    on the condition that the one it has read is still there. Between two writers the store
    decides; whoever comes second reads again.

Laws
    1. No version follows one with a higher token.
    2. That the store has carried out our own put, and its reply was lost, is told by a stamp
       in the metadata, never guessed.
    3. An object that says no token is `StoreCorrupt`: somebody wrote past the guard, and who
       was the last leader is not known. `adopt=True` begins at such an object.

On S3 the version that If-Match compares is the MD5 of the **content**, and metadata do not
count. A leader that was paused between its look and its put would overwrite its successor's
version if that happened to have the same content as the one before the pause. No two versions
may therefore be equal: on S3 `data` is a function that gets a stamp, used once, and has to put
it into what it returns. GCS and Azure number their versions; there plain bytes will do.

What it cannot do: the bar is the object's own. A leader that was replaced can still write an
object that its successor has not touched; let a new leader write first to all that it guards.
Deleting an object deletes its bar: write an empty one instead. And a server that ignores
If-Match protects nothing; ``elector doctor --store s3://...`` finds out.
"""

import secrets
from collections.abc import Callable
from typing import Any, NamedTuple

from elector.errors import ConfigurationError, StoreCorrupt, StoreUnavailable
from elector.fencing.bar import checked_token, refusal

try:
    import obstore
    from obstore.exceptions import AlreadyExistsError, PreconditionError
    from obstore.store import AzureStore, GCSStore, MemoryStore, S3Store
except ImportError as error:  # pragma: no cover - with the client installed
    raise ConfigurationError(
        'guarded objects need the client library obstore: pip install "elector[s3]"'
    ) from error

__all__ = [
    "STAMP_KEY",
    "TOKEN_KEY",
    "ObjectGuard",
]

Data = bytes | Callable[[str], bytes]

# Letters alone: Azure takes no hyphen in such names, and proxies drop underscores.
TOKEN_KEY = "electortoken"  # noqa: S105 - the name of a field
STAMP_KEY = "electorstamp"

# Each is lost to a writer that got through; with so many there is something wrong.
_ATTEMPTS = 100


class ObjectGuard:
    """Refuses the objects of leaders that were replaced.

    Args:
        store: of obstore: S3Store, GCSStore, AzureStore, or MemoryStore for tests.
        adopt: whether objects that say no token may be overwritten.

    Raises:
        ConfigurationError: this kind of store cannot compare before it writes.

    >>> store = MemoryStore()
    >>> guard = ObjectGuard(store)
    >>> guard.put("ledger.json", lambda stamp: f'{{"open": 3, "by": "{stamp}"}}'.encode(), token=2)
    >>> guard.put("ledger.json", lambda stamp: f'{{"open": 9, "by": "{stamp}"}}'.encode(), token=1)
    Traceback (most recent call last):
    ...
    elector.errors.StaleToken: refused: 'ledger.json' has been written under token 2, so token 1 \
belongs to a leader that was replaced; stop this work and campaign again
    >>> guard.newest("ledger.json")
    2
    """

    def __init__(
        self, store: S3Store | GCSStore | AzureStore | MemoryStore, *, adopt: bool = False
    ) -> None:
        if not isinstance(store, S3Store | GCSStore | AzureStore | MemoryStore):
            raise ConfigurationError(
                f"{type(store).__name__} cannot compare before it writes, so nothing holds check "
                "and write together: use an S3Store, GCSStore, AzureStore or MemoryStore"
            )
        self._store, self._adopt = store, adopt
        self._compares_content = isinstance(store, S3Store)

    def put(
        self, path: str, data: Data, token: int, *, attributes: dict[str, str] | None = None
    ) -> None:
        """Write an object under a token.

        Args:
            path: of the object; it is the resource.
            data: the content, or a function that makes it and puts the given stamp, a short
                text used once, somewhere into it. On S3 it must be a function.
            token: `tenure.token`.
            attributes: of the object, as obstore takes them: ``{"Content-Type": ...}``.

        Raises:
            StaleToken: a later leader has written; nothing was written.
            StoreCorrupt: the object says no token, and is not to be adopted.
            StoreUnavailable: other writers got through each time; nothing was written.
            ConfigurationError: this is no token, the stamp is not in the content, or the
                store is set to put without comparing.
        """
        write = self._written(path, data, token, attributes)
        for _ in range(_ATTEMPTS):
            try:
                found = _told(path, obstore.get(self._store, path, options={"head": True}))
            except FileNotFoundError:
                found = None
            if self._is_done(found, write):
                return
            try:
                obstore.put(self._store, path, write.content, **write.unless_changed(found))
            except (AlreadyExistsError, PreconditionError):
                continue
            except NotImplementedError as error:
                raise _not_set_to_compare() from error
            return
        raise _outrun(path)

    async def put_async(
        self, path: str, data: Data, token: int, *, attributes: dict[str, str] | None = None
    ) -> None:
        """Write an object under a token, as `put` does."""
        write = self._written(path, data, token, attributes)
        for _ in range(_ATTEMPTS):
            try:
                read = await obstore.get_async(self._store, path, options={"head": True})
                found = _told(path, read)
            except FileNotFoundError:
                found = None
            if self._is_done(found, write):
                return
            put = write.unless_changed(found)
            try:
                await obstore.put_async(self._store, path, write.content, **put)
            except (AlreadyExistsError, PreconditionError):
                continue
            except NotImplementedError as error:
                raise _not_set_to_compare() from error
            return
        raise _outrun(path)

    def newest(self, path: str) -> int:
        """The token under which an object was written, 0 where there is none.

        To look at, never to decide by: it may be old by the time it is read.
        """
        try:
            return _told(path, obstore.get(self._store, path, options={"head": True})).token
        except FileNotFoundError:
            return 0

    def _written(
        self, path: str, data: Data, token: int, attributes: dict[str, str] | None
    ) -> "_Write":
        checked_token(token)
        if not path:
            raise ConfigurationError(f"{path!r} is not the path of an object")
        stamp = f"{token}-{secrets.token_hex(8)}"
        content = data(stamp) if callable(data) else data
        if not isinstance(content, bytes):
            raise ConfigurationError(f"the content of {path!r} is no bytes: encode it")
        if (callable(data) or self._compares_content) and stamp.encode() not in content:
            raise ConfigurationError(
                f"the stamp is not in the content of {path!r}: pass data as a function of the "
                "stamp that puts it there, or equal contents would pass for one version"
            )
        ours = {**(attributes or {}), TOKEN_KEY: str(token), STAMP_KEY: stamp}
        return _Write(path, token, stamp, content, ours)

    def _is_done(self, found: "_Found | None", write: "_Write") -> bool:
        if found is None:
            return False
        if found.stamp == write.stamp:
            return True
        if not (found.token or self._adopt):
            raise StoreCorrupt(
                f"the object {write.path!r} says no token, so somebody writes past the guard: "
                "stop that, then overwrite it once with ObjectGuard(..., adopt=True)"
            )
        if found.token > write.token:
            raise refusal(write.path, write.token, found.token)
        return False


class _Found(NamedTuple):
    """A version of an object as it was read; token 0 where it says none."""

    token: int
    stamp: str | None
    version: dict[str, Any]


class _Write(NamedTuple):
    path: str
    token: int
    stamp: str
    content: bytes
    attributes: dict[str, str]

    def unless_changed(self, found: _Found | None) -> dict[str, Any]:
        """How to put it in the place of the version that was read, and of no other."""
        return {
            "attributes": self.attributes,
            "mode": "create" if found is None else found.version,
            "use_multipart": False,
        }


def _told(path: str, read: Any) -> _Found:
    said = {str(name).lower(): value for name, value in read.attributes.items()}
    token = said.get(TOKEN_KEY, "0")
    if not (token.isascii() and token.isdecimal()):
        raise StoreCorrupt(
            f"the object {path!r} says {token[:50]!r} for a token: somebody else writes "
            f"{TOKEN_KEY} to its metadata; restore the highest token there"
        )
    version = {key: read.meta[key] for key in ("e_tag", "version") if read.meta.get(key)}
    if not version:
        raise ConfigurationError(
            f"the store tells no version of {path!r}, so nothing holds check and write together"
        )
    return _Found(int(token), said.get(STAMP_KEY), version)


def _not_set_to_compare() -> ConfigurationError:
    return ConfigurationError(
        "the store is set to put without comparing, so nothing holds check and write together: "
        'leave conditional_put of S3Store at "etag"'
    )


def _outrun(path: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"{path!r} was not written: other writers were faster {_ATTEMPTS} times; "
        "let fewer processes write under one token"
    )
