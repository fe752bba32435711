"""As much of an ASGI server as a test needs: one request per connection, on a free port."""

import asyncio
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from elector.fencing.http import App


@contextmanager
def serving(app: App) -> Iterator[str]:
    """Serve in a thread of its own; yields the address."""
    loop, started = asyncio.new_event_loop(), threading.Event()
    server: list[asyncio.Server] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _exchange(app, reader, writer)
        finally:
            writer.close()

    async def start() -> None:
        server.append(await asyncio.start_server(answer, "127.0.0.1", 0))
        started.set()

    def run() -> None:
        loop.create_task(start())
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    started.wait()
    try:
        yield f"http://127.0.0.1:{server[0].sockets[0].getsockname()[1]}/"
    finally:
        loop.call_soon_threadsafe(server[0].close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


async def _exchange(app: App, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    method, path, _ = (await reader.readline()).decode().split()
    headers = list[tuple[bytes, bytes]]()
    while (line := await reader.readline()).strip():
        name, _, value = line.partition(b":")
        headers.append((name.strip().lower(), value.strip()))
    body = await reader.readexactly(int(dict(headers).get(b"content-length", b"0")))

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            status = HTTPStatus(message["status"])
            lines = [f"HTTP/1.1 {status.value} {status.phrase}".encode(), b"connection: close"]
            lines += [b": ".join(header) for header in message.get("headers", [])]
            writer.write(b"\r\n".join([*lines, b"", b""]))
        else:
            writer.write(message.get("body", b""))
            await writer.drain()

    await app({"type": "http", "method": method, "path": path, "headers": headers}, receive, send)
