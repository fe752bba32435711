"""A TCP proxy on loopback that can be told, at any moment, to do what networks do.

It runs on a thread with an event loop of its own, so that it also works while the test does not.
Every order takes effect before the call returns.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import Literal, Self, TypeVar

T = TypeVar("T")
Way = Literal["up", "down"]  # from the client to the server, and back

_CHUNK = 65536
_PATIENCE_S = 5.0
# Closing with this sends a reset: no goodbye, and what was not delivered is lost.
_RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Stands before one port; `port` is where clients are to go.

    Args:
        target: the port of the server, on loopback. It need not listen yet.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._lanes: dict[Way, _Lane] = {"up": _Lane(), "down": _Lane()}
        self._open: set[asyncio.Task[None]] = set()
        self._broken: set[asyncio.Task[None]] = set()  # those that something has been lost from
        self._mute = False
        self._door: socket.socket | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        # Holds the port while nobody listens on it: a refused client is refused by the kernel.
        self._place = _bound(0)
        self.port = int(self._place.getsockname()[1])

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(_PATIENCE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE_S)
        self._loop.close()
        self._place.close()

    # -- what can be done to the network ---------------------------------------------------------

    def reset(self) -> None:
        """Reset every open connection, at both ends; new ones are welcome."""
        self._do(self._reset_all)

    def refuse(self) -> None:
        """Let nobody in any more; connections that are open stay so."""
        self._do(self._stop_listening)

    def mute(self) -> None:
        """Accept and say nothing; connections that were open are reset."""
        self._do(self._fall_silent)

    def cut(self, way: Way) -> None:
        """Let nothing through in this direction; what comes is held, and goes on when healed."""
        self._do(lambda: self._lanes[way].change(is_cut=True))

    def lose(self, way: Way) -> None:
        """Lose what comes in this direction; whoever lost something is reset when healed."""
        self._do(lambda: self._lanes[way].change(loses=True))

    def slow(self, way: Way, seconds: float) -> None:
        """Let everything take so much longer in this direction."""
        self._do(lambda: self._lanes[way].change(delay=seconds))

    def heal(self) -> None:
        """Be a good network again; what was held or slow arrives now."""
        self._do(self._heal)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return self._do(lambda: len(self._open))

    # -- the same, on the thread of the proxy ----------------------------------------------------

    def _do(self, act: Callable[[], T]) -> T:
        async def on_the_loop() -> T:
            return act()

        return asyncio.run_coroutine_threadsafe(on_the_loop(), self._loop).result(_PATIENCE_S)

    def _listen(self) -> None:
        if self._door is None:
            self._door = _bound(self.port)
            self._door.listen(128)
            self._loop.add_reader(self._door, self._welcome, self._door)

    def _stop_listening(self) -> None:
        if self._door is not None:
            self._loop.remove_reader(self._door)
            self._door.close()
            self._door = None

    def _welcome(self, door: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it has gone again already
            client, _ = door.accept()
            client.setblocking(False)
            connection = self._loop.create_task(self._serve(client))
            self._open.add(connection)
            connection.add_done_callback(self._forget)

    def _fall_silent(self) -> None:
        self._mute = True
        self._reset_all()

    def _reset_all(self) -> None:
        for connection in self._open:
            connection.cancel()

    def _heal(self) -> None:
        for connection in self._broken:
            connection.cancel()
        self._mute = False
        for lane in self._lanes.values():
            lane.change()
        self._listen()

    async def _close(self) -> None:
        self._stop_listening()
        self._reset_all()
        while self._open:
            await asyncio.wait(self._open)

    def _forget(self, connection: asyncio.Task[None]) -> None:
        self._open.discard(connection)
        self._broken.discard(connection)

    def _break(self, connection: asyncio.Task[None] | None) -> None:
        if connection is not None:
            self._broken.add(connection)

    async def _serve(self, client: socket.socket) -> None:
        """One connection; its end is a reset unless both ends said goodbye."""
        connection = asyncio.current_task()
        server = _socket()
        try:
            if self._mute:
                self._break(connection)
                await asyncio.Event().wait()
            await self._loop.sock_connect(server, ("127.0.0.1", self._target))
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._carry("up", client, server, connection))
                ways.create_task(self._carry("down", server, client, connection))
        except* OSError:  # one end is gone, so the other hears of it too
            _reset(client, server)
        except* asyncio.CancelledError:
            _reset(client, server)
        finally:
            client.close()
            server.close()

    async def _carry(
        self,
        way: Way,
        source: socket.socket,
        sink: socket.socket,
        connection: asyncio.Task[None] | None,
    ) -> None:
        """Carry bytes in one direction, in order, until their end; it too takes its time."""
        lane = self._lanes[way]
        on_the_way: asyncio.Queue[tuple[float, bytes | None]] = asyncio.Queue(maxsize=1024)

        async def load() -> None:
            chunk: bytes | None = b"?"
            while chunk:
                try:
                    chunk = await self._loop.sock_recv(source, _CHUNK)
                except OSError:
                    chunk = None  # a reset travels behind what was sent before it
                await on_the_way.put((self._loop.time(), chunk))

        async def unload() -> None:
            while True:
                sent_at, chunk = await on_the_way.get()
                await lane.passage(sent_at)
                if lane.loses:
                    self._break(connection)
                elif chunk is None:
                    raise ConnectionResetError
                else:
                    with contextlib.suppress(OSError):  # gone: its own direction tells how
                        await self._deliver(chunk, sink)
                    if not chunk:
                        return

        async with asyncio.TaskGroup() as both:
            both.create_task(load())
            both.create_task(unload())

    async def _deliver(self, chunk: bytes, sink: socket.socket) -> None:
        if chunk:
            await self._loop.sock_sendall(sink, chunk)
        else:
            sink.shutdown(socket.SHUT_WR)


class _Lane:
    """One direction, for all connections."""

    def __init__(self) -> None:
        self.loses = False
        self._is_cut = False
        self._delay = 0.0
        self._changed = asyncio.Event()

    def change(self, *, is_cut: bool = False, loses: bool = False, delay: float = 0.0) -> None:
        """Be like this from now on, also to what is on the way."""
        self._is_cut, self.loses, self._delay = is_cut, loses, delay
        self._changed.set()
        self._changed = asyncio.Event()

    async def passage(self, sent_at: float) -> None:
        """Wait until what was sent then may arrive."""
        while True:
            left = sent_at + self._delay - asyncio.get_running_loop().time()
            if not self._is_cut and left <= 0:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if self._is_cut else left):
                    await self._changed.wait()


def _socket() -> socket.socket:
    made = socket.socket()
    made.setblocking(False)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def _bound(port: int) -> socket.socket:
    made = _socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("127.0.0.1", port))
    return made


def _reset(*ends: socket.socket) -> None:
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
