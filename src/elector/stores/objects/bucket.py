"""Requests to a bucket: read, compare and set, list; each comes to an end by itself.

Outcomes. A write that the store refused in words (a status of 4xx) certainly did not happen, nor
did one for which no connection was made. Whatever else goes wrong with a write leaves it unknown:
the time that ran out, a connection that broke, and a status of 5xx, which S3 also sends for what
it has carried out.

A store that ignores the conditions would let everybody win, so whether it compares is tried
before anything is granted: an object that is there is created again, and one is replaced in a
version that it never had. Both must be refused. The object (``.conditions``) stays, so that the
trial costs two requests.
"""

import asyncio
import re
import weakref
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotModifiedError,
    NotSupportedError,
    PreconditionError,
)

from elector.errors import (
    ConfigurationError,
    OutcomeUnknown,
    StoreUnavailable,
    UnsupportedTrait,
)
from elector.stores.objects.url import PATIENCE_S, Client, Spot

if TYPE_CHECKING:
    from obstore import GetOptions, PutMode

T = TypeVar("T")

_TRIED_ON = ".conditions"
_TRIED_WITH = b"Elector has tried here whether this bucket compares before it writes.\n"

_LETTING_GO = 1000  # times a millisecond; longer than any thread takes that is alive

_TRIED: set[tuple[str, str | None, str | None]] = set()


class Version(NamedTuple):
    """Names one content of an object, to be compared with; opaque."""

    e_tag: str | None
    version: str | None


def _condition(over: Version | None) -> "PutMode":
    if over is None:
        return "create"
    if over.version is None:
        return {"e_tag": over.e_tag}
    return {"e_tag": over.e_tag, "version": over.version}


# Of no object that ever was: the ETag of S3 is a digest, Azure's a time, Google counts from 1.
_NEVER = {
    "s3": Version('"00000000000000000000000000000000"', None),
    "gs": Version('"0"', "1"),
    "az": Version('"0x8D0000000000000"', None),
}


class Conflict(Exception):  # noqa: N818 - a result, which never leaves the adapter
    """The object is not in that version, so nothing was written."""


class Found(NamedTuple):
    """An object as it is now."""

    data: bytes
    version: Version


class Unchanged:
    """The object is still in the version that one knows."""


UNCHANGED = Unchanged()


class Bucket:
    """A prefix in a bucket."""

    def __init__(self, spot: Spot) -> None:
        self.spot = spot
        self._under_way: weakref.WeakSet[Awaitable[Any]] = weakref.WeakSet()
        try:
            self._client: Client = spot.client()
        except (BaseError, ValueError) as error:
            text = str(error).partition("\n")[0]
            raise ConfigurationError(f"{spot} cannot be used: {text}") from None

    # -- requests ------------------------------------------------------------------------

    async def get(
        self, path: str, known: Version | None = None, patience_s: float = PATIENCE_S
    ) -> Found | Unchanged | None:
        """An object; None if it is not there, `UNCHANGED` if it is in the known version.

        Raises:
            StoreUnavailable: it cannot be read.
        """
        options: GetOptions = {}
        if known is not None and known.e_tag is not None:
            options = {"if_none_match": known.e_tag}
        try:
            async with asyncio.timeout(patience_s):
                found = await self._sent(obstore.get_async(self._client, path, options=options))
                data = bytes(await self._sent(found.bytes_async()))
        except NotModifiedError:
            return UNCHANGED
        except TimeoutError:
            raise StoreUnavailable(self._in_words("did not answer in time")) from None
        except FileNotFoundError as error:
            if self._no_bucket(error):
                self._refused(error)
            return None
        except BaseError as error:
            if _status(error) == 304:  # noqa: PLR2004 - not modified
                return UNCHANGED
            raise StoreUnavailable(self._said(error)) from None
        return Found(data, Version(found.meta["e_tag"], found.meta["version"]))

    async def put(
        self, path: str, data: bytes, over: Version | None, patience_s: float = PATIENCE_S
    ) -> Version:
        """Write an object if it is still in this version, or not there yet (None).

        Raises:
            Conflict: it is not, and nothing was written.
            StoreUnavailable: nothing was written.
            OutcomeUnknown: it may have been written.
        """
        try:
            async with asyncio.timeout(patience_s):
                done = await self._sent(
                    obstore.put_async(
                        self._client, path, data, mode=_condition(over), use_multipart=False
                    )
                )
        except (AlreadyExistsError, PreconditionError):
            raise Conflict from None
        except TimeoutError:
            raise OutcomeUnknown(self._in_words("did not answer in time")) from None
        except FileNotFoundError as error:
            if self._no_bucket(error):
                self._refused(error)
            raise Conflict from None  # what was to be replaced is gone
        except NotSupportedError:
            raise _does_not_compare(self.spot) from None
        except BaseError as error:
            self._not_written(error)
        return Version(done["e_tag"], done["version"])

    async def note(self, path: str, data: bytes) -> None:
        """Write an object whatever is there: for what decides nothing."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._sent(obstore.put_async(self._client, path, data, use_multipart=False))
        except TimeoutError:
            raise OutcomeUnknown(self._in_words("did not answer in time")) from None
        except FileNotFoundError as error:
            self._refused(error)
        except BaseError as error:
            self._not_written(error)

    async def forget(self, path: str) -> None:
        """Delete an object that decides nothing."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._sent(obstore.delete_async(self._client, path))
        except TimeoutError:
            raise OutcomeUnknown(self._in_words("did not answer in time")) from None
        except FileNotFoundError:
            return
        except BaseError as error:
            self._not_written(error)

    async def names(self, folder: str) -> list[tuple[str, float]]:
        """What is in a folder and below, and when it was written by the store's clock.

        Raises:
            StoreUnavailable: it cannot be listed.
        """
        try:
            async with asyncio.timeout(PATIENCE_S):
                entries = await self._sent(obstore.list(self._client, folder).collect_async())
        except TimeoutError:
            raise StoreUnavailable(self._in_words("did not answer in time")) from None
        except FileNotFoundError as error:
            self._refused(error)
        except BaseError as error:
            raise StoreUnavailable(self._said(error)) from None
        return [(entry["path"], entry["last_modified"].timestamp()) for entry in entries]

    def _sent(self, request: Awaitable[T]) -> Awaitable[T]:
        self._under_way.add(request)
        return request

    async def close(self) -> None:
        """Wait until the client's own threads have let go of everything that was asked.

        They report each outcome to the event loop, and go on for a moment after we know it.
        An interpreter that ends in that moment is aborted by the system.
        """
        for _ in range(_LETTING_GO):
            if not self._under_way:
                return
            await asyncio.sleep(0.001)

    # -- whether it compares ---------------------------------------------------------------

    async def reach(self) -> None:
        """See that the bucket is there, lets us in, and compares before it writes.

        Raises:
            UnsupportedTrait: it writes whatever is there.
            StoreError: it cannot be used as it is.
        """
        path = self.spot.path(_TRIED_ON)
        place = (self.spot.bucket, self.spot.endpoint, self.spot.account)
        if not self.spot.create or place in _TRIED:
            await self.get(path)
            return
        created = await self._writes(path, None) and await self._writes(path, None)
        if created or await self._writes(path, _NEVER[self.spot.scheme]):
            raise _does_not_compare(self.spot)
        _TRIED.add(place)

    async def _writes(self, path: str, over: Version | None) -> bool:
        try:
            await self.put(path, _TRIED_WITH, over)
        except Conflict:
            return False
        except OutcomeUnknown as error:
            raise StoreUnavailable(str(error)) from None  # nothing hangs on it
        return True

    # -- in words --------------------------------------------------------------------------

    @staticmethod
    def _no_bucket(error: Exception) -> bool:
        return bool(re.search("NoSuchBucket|ContainerNotFound|bucket does not exist", str(error)))

    def _refused(self, error: Exception) -> NoReturn:
        raise StoreUnavailable(self._said(error)) from None

    def _not_written(self, error: BaseError) -> NoReturn:
        if _status(error) == 501:  # noqa: PLR2004 - not implemented
            raise _does_not_compare(self.spot) from None
        if _certainly_not(error, self.spot):
            raise StoreUnavailable(self._said(error)) from None
        raise OutcomeUnknown(self._said(error)) from None

    def _in_words(self, what: str) -> str:
        at = f" at {self.spot.endpoint}" if self.spot.endpoint else ""
        return f"{self.spot}{at} {what}"

    def _said(self, error: Exception) -> str:
        """One line on what went wrong; never the library's own text, which has headers in it."""
        return self._in_words(_why(error, self.spot))


def _does_not_compare(spot: Spot) -> UnsupportedTrait:
    at = f" at {spot.endpoint}" if spot.endpoint else ""
    return UnsupportedTrait(
        f"{spot}{at} ignores the conditions of a write (If-Match, If-None-Match), so everybody "
        "would win: use a store that has conditional writes, or another store"
    )


def _certainly_not(error: Exception, spot: Spot) -> bool:
    """Whether the store refused in words, or was never asked."""
    if _never_asked(error, spot):
        return True
    status = _status(error)
    if status is not None:
        return 400 <= status < 500 and status != 408  # noqa: PLR2004 - of HTTP
    return _failure(error) == "Connect"


def _status(error: Exception) -> int | None:
    found = re.search(r"status code: (\d{3})|\bstatus: (\d{3})", str(error))
    return None if found is None else int(found[1] or found[2])


def _failure(error: Exception) -> str:
    """What the HTTP client calls it: Connect is never said of a connection that was there."""
    found = re.search(r"HttpError \{\s*kind: (\w+)", str(error))
    return "" if found is None else found[1]


def _never_asked(error: Exception, spot: Spot) -> bool:
    """The client fetches credentials elsewhere, and fails at that before it sends anything."""
    asked = re.search(r"Error performing [A-Z]+ (\S+)", str(error))
    return asked is not None and spot.bucket not in asked[1]


def _why(error: Exception, spot: Spot) -> str:
    status, text = _status(error), str(error)
    code = re.search(r"<Code>(\w{1,60})</Code>", text)
    named = f"{status} {code[1]}" if status and code else str(status)
    if Bucket._no_bucket(error):  # noqa: SLF001 - of the same file
        return "is not there: create the bucket, or correct its name or its region"
    if _never_asked(error, spot):
        return f"cannot be asked without credentials: {_CREDENTIALS[spot.scheme]}"
    if status is not None:
        said = _REFUSALS.get("SlowDown" if "SlowDown" in named else status, _OTHERWISE)
        return said.format(named=named, rights=_RIGHTS[spot.scheme])
    if _failure(error) == "Connect":
        return "cannot be reached: check the endpoint, and whether it is up"
    return "did not answer in time" if _failure(error) == "Timeout" else "broke the connection off"


_REFUSED = "refuses us ({named}): check the credentials, and {rights}"
_TOO_OFTEN = "is asked too often ({named}): raise ttl or poll"
_OTHERWISE = "refused the request ({named})"
_ELSEWHERE = "is in another region ({named}): name it, with region= or AWS_REGION"
_REFUSALS: dict[int | str, str] = {
    301: _ELSEWHERE,
    307: _ELSEWHERE,
    401: _REFUSED,
    403: _REFUSED,
    429: _TOO_OFTEN,
    "SlowDown": _TOO_OFTEN,
}
_CREDENTIALS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS, or run gcloud auth application-default login",
    "az": "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or give it an identity",
}
_RIGHTS = {
    "s3": "allow s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket on the prefix",
    "gs": "grant roles/storage.objectUser on the bucket",
    "az": "grant Storage Blob Data Contributor on the container",
}
