"""What ``resign`` and ``transfer`` have in common."""

import asyncio

import click

from elector.cli.output import print_json
from elector.cli.settings import with_store
from elector.core.duration import SECOND_NS, parse_duration
from elector.errors import ConfigurationError, UnsupportedTrait
from elector.stores.port import Ask, Change, News, Record, Store
from elector.stores.registry import StoreUrl

EXIT_NOT_IN_TIME = 75


def hand_over(election: str, url: StoreUrl, wait: str, heir: str | None, *, as_json: bool) -> None:
    """Ask the leader to go, wait until it has, and say who came after it."""
    patience = parse_duration(wait, "wait") / SECOND_NS

    async def ask(store: Store) -> tuple[Record, bool, str | None]:
        before = await store.describe(election)
        if before.leader is None:
            return before, False, None
        if heir is not None and not store.traits.transfer:
            raise UnsupportedTrait(
                f"a {url.scheme}:// store cannot keep an office for a named candidate; "
                "elector resign hands over to whoever comes first"
            )
        if heir is not None and heir not in before.waiting:
            waiting = ", ".join(before.waiting) or "nobody"
            raise ConfigurationError(
                f"candidate {heir!r} does not wait in {election!r} (waiting: {waiting})"
            )
        return before, *await _ask_and_wait(store, before, heir, patience)

    before, gone, successor = with_store(url, ask)
    if as_json:
        print_json(
            {
                "election": election,
                "leader": before.leader,
                "token": before.token,
                "handed_over": gone,
                "next": successor,
            }
        )
    elif before.leader is None:
        click.echo(f"{election}: nobody leads")
    elif gone:
        click.echo(f"{election}: {before.leader} has handed over; next: {successor or '(nobody)'}")
    else:
        click.echo(
            f"elector: {election}: {before.leader} was asked, but is still in office after {wait}: "
            "its work has not stopped",
            err=True,
        )
    if before.leader is not None and not gone:
        raise click.exceptions.Exit(EXIT_NOT_IN_TIME)


async def _ask_and_wait(
    store: Store, before: Record, heir: str | None, patience: float
) -> tuple[bool, str | None]:
    changed = asyncio.Event()

    def notice(news: News) -> None:
        if isinstance(news, Change):
            changed.set()

    watch = await store.watch(before.election, notice)
    try:
        await store.ask(Ask(before.election, before.token, heir))
        async with asyncio.timeout(patience):
            while True:
                await changed.wait()
                changed.clear()
                now = await store.describe(before.election)
                if now.token > before.token:
                    return True, now.leader
                if now.leader is None:
                    return True, await _successor(store, before, changed)
    except TimeoutError:
        now = await store.describe(before.election)  # of a lease that ran out nobody tells
        gone = now.leader is None or now.token > before.token
        return gone, now.leader if gone else None
    finally:
        await watch.close()


async def _successor(store: Store, before: Record, changed: asyncio.Event) -> str | None:
    """The next leader, if one comes at once."""
    try:
        async with asyncio.timeout(1):
            while (now := await store.describe(before.election)).leader is None:
                await changed.wait()
                changed.clear()
    except TimeoutError:
        return None
    return now.leader
