"""Watching: one stream for all elections that somebody here watches, and who is told what.

A room is an election as this process sees it: a `View`, kept up to date by the stream. When the
stream breaks, every room is read again, and everybody is told the present state.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc.aio

from elector.clock import now_ns
from elector.core.identity import Candidate
from elector.errors import StoreError, StoreUnavailable
from elector.stores.etcd.client import Client, Line, heard
from elector.stores.etcd.view import Keys, View
from elector.stores.etcd.wire import message
from elector.stores.port import Ask, Change
from elector.stores.watches import Watching

_STAGGER_NS = 250_000_000
"""How long each in line has to take a vacant office before the next one is called, too."""

Read = Callable[[Line, Sequence[str]], Awaitable[list[View]]]


class Room:
    """One election that somebody here watches."""

    def __init__(self, view: View, claimed: Callable[[str, str], bool]) -> None:
        self.view = view
        self.live = False
        self.watch_id = 0
        self.watchings: list[Watching] = []
        self.in_vain: dict[str, Candidate] = {}  # who waits here, by instance
        self._claimed = claimed
        self._told = self._state()
        self._asked = 0
        self._called: set[str] = set()
        self._vacant: tuple[int, bool] | None = None
        self._vacant_since = 0
        self._timer: asyncio.TimerHandle | None = None

    def apply(self, view: View) -> None:
        """Take a later view, from whatever source, and tell of it."""
        if view.revision >= self.view.revision:
            self.view = view.knowing(self.view)
            self.settle()

    def settle(self, *, again: bool = False) -> None:
        """Tell everybody here what is new, or everything again."""
        state = self._state()
        if again or state != self._told:
            (_, before, _), self._told = self._told, state
            self._tell(before)
        self._pass_on()
        self._call()

    def _state(self) -> tuple[str | None, str | None, int]:
        return self.view.leader_name, self.view.instance, self.view.token

    def _tell(self, last_instance: str | None) -> None:
        leader = self.view.leader
        for watching in tuple(self.watchings):
            candidate = watching.candidate
            # A vacancy is for observers, for the next in line, and for whoever was robbed of it.
            robbed = (
                candidate is not None
                and candidate.instance == last_instance
                and self._claimed(self.view.keys.election, candidate.instance)
            )
            if leader is not None or candidate is None or robbed:
                watching.notify(self.present(None))

    def present(self, candidate: Candidate | None) -> Change:
        """The state of things, as this candidate (or an observer) should see it."""
        view, leader = self.view, self.view.leader
        if leader is not None:
            return Change(view.keys.election, leader.name, view.instance, view.token)
        kept_ns = view.kept_from(None if candidate is None else candidate.name)
        return Change(view.keys.election, None, None, view.token, kept_ns)

    def _pass_on(self) -> None:
        asked = self.view.asked
        if asked is None or asked[0] <= self._asked:
            return
        self._asked, request = asked
        for watching in tuple(self.watchings):
            if watching.candidate is not None and watching.candidate.instance == self.view.instance:
                watching.notify(Ask(self.view.keys.election, request.token, request.heir))

    def _call(self) -> None:
        """Tell the next in line of a vacancy, and the ones behind it if it does not come."""
        self.hush()
        if self.view.leader is not None:
            self._vacant = None
            return
        vacancy = (self.view.token, self.view.heir is not None)
        if vacancy != self._vacant:
            self._vacant, self._vacant_since = vacancy, now_ns()
            self._called.clear()
        for rank, (instance, name) in enumerate(self._order()):
            watching = self._here(instance)
            if watching is None or instance in self._called or self.view.kept_from(name):
                continue
            wait_ns = self._vacant_since + rank * _STAGGER_NS - now_ns()
            if wait_ns > 0:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(wait_ns / 1e9, self._call)
                return
            self._called.add(instance)
            watching.notify(self.present(watching.candidate))

    def _order(self) -> list[tuple[str, str]]:
        line = [(one.instance, one.name) for one in self.view.line]
        known = {instance for instance, _ in line}
        # Those whose place in line went with a lease that ran out stand behind the others.
        rest = [(key, one.name) for key, one in self.in_vain.items() if key not in known]
        return line + rest

    def _here(self, instance: str) -> Watching | None:
        of_it = (w for w in self.watchings if w.candidate and w.candidate.instance == instance)
        return next(of_it, None)

    def hush(self) -> None:
        """Call nobody later."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Stream:
    """The watch stream of one connection."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.call = line.stream("Watch")
        self.reading: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()

    async def send(self, **request: Any) -> None:
        async with self._writing:
            await heard(self.call.write(message("WatchRequest", **request)))


class Rooms:
    """All rooms of a store, and their stream.

    Args:
        client: to ask etcd.
        read: reads elections through a connection.
        claimed: whether an instance of ours holds an election, as far as is known.
    """

    def __init__(self, client: Client, read: Read, claimed: Callable[[str, str], bool]) -> None:
        self._client, self._read, self._claimed = client, read, claimed
        self._rooms: dict[str, Room] = {}
        self._opening: dict[str, asyncio.Task[None]] = {}
        self._by_id: dict[int, Room] = {}
        self._ids = itertools.count(1)
        self._stream: _Stream | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def __bool__(self) -> bool:
        return bool(self._rooms)

    def get(self, election: str) -> Room | None:
        """The room of an election that is watched."""
        return self._rooms.get(election)

    def live(self, election: str) -> View | None:
        """What the stream says of an election now, None if it says nothing."""
        room = self._rooms.get(election)
        return room.view if room is not None and room.live else None

    def learn(self, view: View) -> None:
        """A request has brought a view of an election."""
        room = self._rooms.get(view.keys.election)
        if room is not None:
            room.apply(view)

    async def enter(self, watching: Watching) -> Room:
        """Watch an election, and tell the newcomer what it is like."""
        election = watching.election
        while (room := self._rooms.get(election)) is None or election in self._opening:
            await self._opened(election)
        room.watchings.append(watching)
        watching.notify(room.present(watching.candidate))
        room.settle()
        return room

    async def _opened(self, election: str) -> None:
        """Wait until a room is open: many who come at a time wait for one and the same."""
        opening = self._opening.get(election)
        if opening is None:
            opening = self._opening[election] = asyncio.create_task(self._open(election))
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(lambda done: self._close_if_empty(election, done))
            raise

    def _close_if_empty(self, election: str, opening: "asyncio.Task[None]") -> None:
        if not opening.cancelled():
            opening.exception()  # whoever else waited was told
        room = self._rooms.get(election)
        if room is not None and not room.watchings:
            self._close(room)

    async def _open(self, election: str) -> None:
        try:
            line = await self._client.get()
            [view] = await self._read(line, [election])
            room = Room(view, self._claimed)
            self._rooms[election] = room
            try:
                await self._follow(line, room)
            except BaseException:
                self._close(room)
                raise
        finally:
            del self._opening[election]

    async def _follow(self, line: Line, room: Room) -> None:
        """Watch from behind what is known."""
        stream = self._stream
        if stream is None or stream.line is not line:
            stream = self._stream = _Stream(line)
            stream.reading = asyncio.create_task(self._listen(stream))
        room.watch_id = next(self._ids)
        self._by_id[room.watch_id] = room
        keys: Keys = room.view.keys
        request = message(
            "WatchCreateRequest",
            key=keys.first,
            range_end=keys.end,
            start_revision=room.view.revision + 1,
            watch_id=room.watch_id,
        )
        try:
            await stream.send(create_request=request)
        except grpc.aio.AioRpcError as error:
            self._client.judge(line, error, writes=False)
        except asyncio.InvalidStateError:
            self._client.drop(line)
            raise StoreUnavailable(f"etcd ({line.endpoint}) broke off the watch") from None
        room.live = self._stream is stream

    async def _listen(self, stream: _Stream) -> None:
        try:
            while (answer := await heard(stream.call.read())) is not grpc.aio.EOF:
                self._hear(answer)
        except grpc.aio.AioRpcError:
            pass
        finally:
            if self._stream is stream:
                self._stream = None
                for room in self._rooms.values():
                    room.live = False
                self._by_id.clear()
                self._client.drop(stream.line)

    def _hear(self, answer: Any) -> None:
        room = self._by_id.get(answer.watch_id)
        if room is None:
            return
        if (
            answer.canceled
        ):  # what it was to begin with has been compacted away, or a right was lost
            room.live = False
            self._by_id.pop(answer.watch_id, None)
            self._soon(self._begin_anew(room))
        elif answer.events:
            room.apply(room.view.after(answer.events))

    async def _begin_anew(self, room: Room) -> None:
        try:
            line = await self._client.get()
            [view] = await self._read(line, [room.view.keys.election])
            room.view = view.knowing(room.view)
            await self._follow(line, room)
            room.settle(again=True)
        except StoreError:
            stream = self._stream
            if stream is not None:
                await asyncio.sleep(1)
                self._client.drop(stream.line)

    async def resume(self, line: Line) -> None:
        """On a new connection: read all rooms again, watch on, and tell what they are like."""
        rooms = list(self._rooms.values())
        if not rooms:
            return
        views = await self._read(line, [room.view.keys.election for room in rooms])
        for room, view in zip(rooms, views, strict=True):
            if view.revision >= room.view.revision:
                room.view = view.knowing(room.view)
            await self._follow(line, room)
        for room in rooms:
            room.settle(again=True)

    def leave(self, watching: Watching) -> None:
        """Tell it nothing more; the last one closes the room."""
        room = self._rooms.get(watching.election)
        if room is None:
            return
        room.watchings = [one for one in room.watchings if one is not watching]
        if watching.candidate is not None:
            room.in_vain.pop(watching.candidate.instance, None)
        if room.watchings:
            room.settle()
        else:
            self._close(room)

    def _close(self, room: Room) -> None:
        room.hush()
        self._rooms.pop(room.view.keys.election, None)
        if self._by_id.pop(room.watch_id, None) is not None and self._stream is not None:
            request = message("WatchCancelRequest", watch_id=room.watch_id)
            self._soon(self._send(self._stream, cancel_request=request))

    @staticmethod
    async def _send(stream: _Stream, **request: Any) -> None:
        # If it fails, it is gone with its stream.
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await stream.send(**request)

    def _soon(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Tell nobody anything any more."""
        for room in list(self._rooms.values()):
            room.hush()
        self._rooms.clear()
        stream, self._stream = self._stream, None
        tasks = [*self._tasks, *self._opening.values()]
        if stream is not None and stream.reading is not None:
            tasks.append(stream.reading)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
