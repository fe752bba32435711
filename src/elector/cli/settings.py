"""Settings that verbs share: by flag, then ``ELECTOR_*``, then default."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click

from elector.core.identity import election_name
from elector.errors import ConfigurationError
from elector.stores.port import Store
from elector.stores.registry import StoreUrl, default_url, open_store, parse_url

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


def store_option(function: F) -> F:
    """``--store``, checked and taken apart."""
    return click.option(
        "--store",
        metavar="URL",
        envvar="ELECTOR_STORE",
        callback=lambda _context, _option, value: _store_url(value),
        help="Where the election is held. [env: ELECTOR_STORE; default: this user's own database]",
    )(function)


def _store_url(given: str | None) -> StoreUrl:
    try:
        return parse_url(default_url() if given is None else given)
    except RuntimeError as error:  # neither HOME nor an entry for this user
        raise ConfigurationError(
            "this user has no home directory for the default store: name one with --store"
        ) from error


def json_option(function: F) -> F:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="For machines.")(function)


def election_argument(function: F) -> F:
    """The election's name, checked."""
    return click.argument(
        "election", callback=lambda _context, _argument, value: election_name(value)
    )(function)


def with_store(url: StoreUrl, work: Callable[[Store], Awaitable[T]], *, create: bool = False) -> T:
    """Open a store, work with it, and close it."""

    async def opened() -> T:
        store = await open_store(StoreUrl(url.scheme, url.rest, create))
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(opened())
