"""From a URL to a store: lazy imports for ours, entry points for everybody else's.

A third party registers ``scheme = "package.module:factory"`` in the entry point group
``elector.stores``; the factory takes a `StoreUrl` and returns an open store.
"""

import importlib
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec

from elector.errors import ConfigurationError, StoreUnavailable
from elector.stores.port import Finding, Store

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINT_GROUP = "elector.stores"


class StoreUrl(msgspec.Struct, frozen=True):
    """A store URL taken apart: ``scheme://[user[:secret]@]host/path?query``.

    Attributes:
        scheme: what stands before ``://``, in lower case.
        rest: everything behind it, untouched; adapters know their own conventions.
        create: whether a store that is not there yet may be made.
    """

    scheme: str
    rest: str
    create: bool = True

    def __str__(self) -> str:
        """The URL without its secret, fit for logs, errors and child environments."""
        return f"{self.scheme}://{_without_secret(self.rest)}"


class _Known(msgspec.Struct, frozen=True):
    target: str
    extra: str | None = None


_KNOWN = {
    "memory": _Known("elector.stores.memory:open_store"),
    "sqlite": _Known("elector.stores.sqlite:open_store"),
    "file": _Known("elector.stores.file:open_store"),
    "postgresql": _Known("elector.stores.postgresql:open_store", "postgres"),
    "postgres": _Known("elector.stores.postgresql:open_store", "postgres"),
    "redis": _Known("elector.stores.redis:open_store", "redis"),
    "rediss": _Known("elector.stores.redis:open_store", "redis"),
    "valkey": _Known("elector.stores.redis:open_store", "redis"),
    "valkeys": _Known("elector.stores.redis:open_store", "redis"),
    "etcd": _Known("elector.stores.etcd:open_store", "etcd"),
    "etcds": _Known("elector.stores.etcd:open_store", "etcd"),
    "s3": _Known("elector.stores.objects:open_store", "s3"),
    "gs": _Known("elector.stores.objects:open_store", "s3"),
    "az": _Known("elector.stores.objects:open_store", "s3"),
}

Factory = Callable[[StoreUrl], Awaitable[Store]]
Diagnosis = Callable[[StoreUrl], Awaitable[list[Finding]]]


def default_url() -> str:
    """The embedded store of this user: under the XDG state directory."""
    # The XDG specification ignores a relative path, which would be another store in each directory.
    given = Path(os.environ.get("XDG_STATE_HOME", ""))
    state = given if given.is_absolute() else Path.home() / ".local" / "state"
    return f"sqlite:///{state / 'elector' / 'elections.db'}"


def parse_url(text: str) -> StoreUrl:
    """Take a store URL apart.

    Raises:
        ConfigurationError: there is no ``://`` in it.

    >>> str(parse_url("redis://app:hunter2@db:6379/0?password=x"))
    'redis://app:***@db:6379/0?password=***'
    >>> str(parse_url("redis://app:hun/ter?2@db/0#password=x"))
    'redis://app:***@db/0#password=***'
    """
    scheme, separator, rest = text.partition("://")
    if not separator or not scheme:
        raise ConfigurationError(
            f"store {_without_secret(text)!r} is not a URL: write scheme://..., "
            "for example sqlite:///elections.db"
        )
    return StoreUrl(scheme.lower(), rest)


async def open_store(url: StoreUrl) -> Store:
    """Open the store behind a URL.

    Raises:
        ConfigurationError: nobody serves the scheme, or its extra is not installed.
        StoreUnavailable: the store does not answer.
    """
    factory = factory_for(url.scheme)
    try:
        return await factory(url)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise StoreUnavailable(
            f"cannot open {url}: {where}{error.strerror or error}; give this user access or choose "
            "another store with --store"
        ) from error


def factory_for(scheme: str) -> Factory:
    """Find who opens stores of this scheme, importing it only now."""
    known = _KNOWN.get(scheme)
    if known is None:
        return _plugged_in(scheme)
    module, _, name = known.target.partition(":")
    try:
        return cast("Factory", getattr(importlib.import_module(module), name))
    except ImportError as error:
        if known.extra is None:
            raise
        raise ConfigurationError(
            f"a {scheme}:// store needs {error.name}: pip install 'elector[{known.extra}]'"
        ) from error


def diagnosis_for(scheme: str) -> Diagnosis | None:
    """What the adapter of this scheme can find out about its store; None if it has no such thing.

    It is the function ``diagnose`` of the module that the registration names.
    """
    factory_for(scheme)  # for its words about what is missing
    known = _KNOWN.get(scheme)
    target = _plugins()[scheme].value if known is None else known.target
    module = importlib.import_module(target.partition(":")[0])
    return cast("Diagnosis | None", getattr(module, "diagnose", None))


def _plugins() -> "dict[str, EntryPoint]":
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def _plugged_in(scheme: str) -> Factory:
    plugins = _plugins()
    if scheme in plugins:
        return cast("Factory", plugins[scheme].load())
    served = ", ".join(f"{name}://" for name in sorted({*_KNOWN, *plugins}))
    raise ConfigurationError(
        f"no store is installed for {scheme}:// (there are {served}); a package that serves it "
        f"registers in the entry point group {ENTRY_POINT_GROUP!r}"
    )


_SECRET_PAIR = re.compile(
    r"(?P<mark>[?&;#])(?P<key>[^=?&;#]*(?:password|secret|token|key)[^=?&;#]*)=(?P<value>[^&;#]*)",
    re.IGNORECASE,
)


def _without_secret(rest: str) -> str:
    # The last @ first: a password may hold any of the characters that come after it.
    user, at, address = rest.rpartition("@")
    if at:
        name, colon, _ = user.partition(":")
        user = f"{name}:***" if colon else name
    return f"{user}{at}{_SECRET_PAIR.sub(_masked, address)}"


_PATH_OF_A_KEY = re.compile(r"[^&;#]*\.(?:pem|key|crt)")


def _masked(pair: re.Match[str]) -> str:
    if pair["key"].lower() == "key" and _PATH_OF_A_KEY.fullmatch(pair["value"]):
        return pair[0]  # where a certificate's key lies is no secret, and a child needs it
    return f"{pair['mark']}{pair['key']}=***"
