"""PostgreSQL behind pgbouncer: session pooling works, everything else is found out and refused."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from elector.errors import StoreUnavailable
from elector.stores.postgresql import diagnose
from elector.stores.registry import open_store, parse_url
from tests.servers.postgresql import PASSWORD, PostgresServer, as_server, postgres_server
from tests.servers.process import ServerProcess, free_port, listens
from tests.stores.worlds import Ear, candidate, lead, led

# Debian keeps it where only root looks.
_POOLER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")

pytestmark = pytest.mark.skipif(_POOLER is None, reason="pgbouncer is not installed")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with postgres_server(tmp_path_factory.mktemp("postgresql")) as running:
        yield running


@contextmanager
def pooler(server: PostgresServer, mode: str, size: int, place: Path) -> Iterator[str]:
    """A pooler before the server; the URL of the database through it."""
    port = free_port()
    settings, users = server.home / f"{port}.ini", server.home / f"{port}.txt"
    users.write_text(f'"elector" "{PASSWORD}"\n')
    settings.write_text(
        f"[databases]\napp = host=127.0.0.1 port={server.port} dbname=app\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = md5\n"
        f"auth_file = {users}\npool_mode = {mode}\ndefault_pool_size = {size}\n"
    )
    for file in (settings, users):
        file.chmod(0o644)
    assert _POOLER is not None
    process = ServerProcess(
        as_server(_POOLER, settings), lambda: listens(port), place / "pgbouncer.log"
    )
    try:
        process.start()
        yield server.url_via(port)
    finally:
        process.stop()


@pytest.mark.parametrize("size", [1, 3])
def test_session_pooling_is_as_good_as_none(
    server: PostgresServer, size: int, tmp_path: Path
) -> None:
    async def main(url: str) -> None:
        store = await open_store(parse_url(url))
        try:
            ear = Ear()
            await store.watch(f"pool{size}", ear)
            grant = await lead(store, f"pool{size}", candidate("a"))
            await ear.until(led("a", grant.token))
            assert await store.renew([grant]) == [True]
        finally:
            await store.close()

    with pooler(server, "session", size, tmp_path) as url:
        asyncio.run(main(url))
        if size > 1:  # the doctor needs a session beside the one that it looks through
            levels = {f.what: f.level for f in asyncio.run(diagnose(parse_url(url)))}
            assert levels["pooler"] == "good"


@pytest.mark.parametrize("mode", ["transaction", "statement"])
@pytest.mark.parametrize("size", [1, 3])
def test_lent_sessions_are_refused(
    server: PostgresServer, mode: str, size: int, tmp_path: Path
) -> None:
    async def main(url: str) -> None:
        with pytest.raises(StoreUnavailable, match="or use session pooling") as caught:
            await open_store(parse_url(url))
        assert "\n" not in str(caught.value)
        [bad] = [f for f in await diagnose(parse_url(url)) if f.level == "bad"]
        assert (bad.what, "or use session pooling" in bad.says) == ("pooler", True)

    with pooler(server, mode, size, tmp_path) as url:
        asyncio.run(main(url))
