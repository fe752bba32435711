"""What etcd has to say to those who only read: records of elections, and past tenures."""

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from elector.core.duration import SECOND_NS
from elector.core.office import EndReason
from elector.errors import StoreError
from elector.stores.etcd import wire
from elector.stores.etcd.client import Client
from elector.stores.etcd.view import Keys, Office, View, all_elections, election_of
from elector.stores.port import PastTenure, Record

_HISTORY = 1000


class Archive:
    """Reads what is kept under a prefix.

    Args:
        prefix: of all keys.
        client: to ask etcd.
    """

    def __init__(self, prefix: str, client: Client) -> None:
        self._prefix, self._client = prefix, client

    async def elections(self) -> list[Record]:
        """All elections in which an Elector candidate ever led, or anybody stands."""
        start, end = all_elections(self._prefix)
        request = wire.message("RangeRequest", key=start, range_end=end)
        answer = await self._client.read("Range", request)
        pairs: dict[str, list[Any]] = {}
        for pair in answer.kvs:
            election = election_of(self._prefix, pair.key)
            if election is not None:
                pairs.setdefault(election, []).append(pair)
        views = (
            View(Keys(self._prefix, name), found, answer.header.revision)
            for name, found in pairs.items()
        )
        known = [view for view in views if view.office or view.line or _is_election(view)]
        return await self.records(sorted(known, key=lambda view: view.keys.election))

    async def records(self, views: Sequence[View]) -> list[Record]:
        """What is to be said of these elections."""
        leases = {view.leader.lease for view in views if view.leader is not None} - {0}
        left = dict(zip(leases, await asyncio.gather(*map(self._left_ns, leases)), strict=True))
        return [
            Record(
                view.keys.election,
                view.leader_name,
                view.token,
                expires_in_ns=left.get(view.leader.lease) if view.leader else None,
                since=view.tenure.began if view.tenure else None,
                waiting=view.waiting,
            )
            for view in views
        ]

    async def _left_ns(self, lease: int) -> int | None:
        request = wire.message("LeaseTimeToLiveRequest", ID=lease)
        try:
            left_s: int = (await self._client.read("LeaseTimeToLive", request)).TTL
        except StoreError:  # it may be somebody else's, and not for us to ask about
            return None
        return max(0, left_s * SECOND_NS)

    async def history(self, view: View, limit: int) -> list[PastTenure]:
        """Past tenures of Elector candidates, newest first."""
        keys, election = view.keys, view.keys.election
        request = wire.message(
            "RangeRequest",
            key=keys.history,
            range_end=keys.history_end,
            sort_order=wire.DESCENDING,
            limit=limit,
        )
        answer = await self._client.read("Range", request)
        past = [msgspec.json.decode(pair.value, type=Office) for pair in answer.kvs]
        last = view.office
        if last is not None and last.ended is None:
            if view.tenure is None:  # it ran out, and nobody has led since
                last = msgspec.structs.replace(last, ended=utc(), reason=EndReason.EXPIRED.value)
            past = [last, *(tenure for tenure in past if tenure.token != last.token)]
        return [
            PastTenure(election, one.token, one.holder, one.began, one.ended, one.reason)
            for one in past[:limit]
        ]

    async def trim(self, keys: Keys) -> None:
        """Keep the newest thousand tenures."""
        span = {"key": keys.history, "range_end": keys.history_end}
        with contextlib.suppress(StoreError):
            request = wire.message("RangeRequest", count_only=True, **span)
            surplus = (await self._client.read("Range", request)).count - _HISTORY
            if surplus <= 0:
                return
            request = wire.message("RangeRequest", keys_only=True, limit=surplus, **span)
            oldest = (await self._client.read("Range", request)).kvs
            step = wire.delete(oldest[0].key, oldest[-1].key + b"\0")
            await self._client.write("Txn", wire.message("TxnRequest", success=[step]))


def _is_election(view: View) -> bool:
    """Whether somebody stands here as Go's convention has it; other keys are not our business."""
    return any(one.lease and one.key == view.keys.contender(one.lease) for one in view.queue)


def utc() -> str:
    """Now, for people only."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
