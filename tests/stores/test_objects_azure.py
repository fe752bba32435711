"""Azure Blob, on an emulator: the laws, and what a refusal says."""

import asyncio
from collections.abc import Iterator

import pytest

from elector.errors import StoreUnavailable
from elector.stores.objects import diagnose
from elector.stores.registry import open_store, parse_url
from elector.testing.stores import check_store
from tests.servers.azure import PROGRAM, AzureServer, azure_server

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="azurite-blob is not installed")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureServer]:
    with azure_server(tmp_path_factory.mktemp("azure")) as running:
        yield running


@pytest.fixture(autouse=True)
def keys(server: AzureServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)


@pytest.mark.timeout(400)
def test_it_holds_the_laws(server: AzureServer) -> None:
    report = check_store(server.url, rounds=5)
    assert report.of("unsupported") == ["back_in_office", "woken", "call_handed_on"]


def test_a_healthy_container_is_found_good(server: AzureServer) -> None:
    findings = {one.what: one.level for one in asyncio.run(diagnose(parse_url(server.url)))}
    assert findings["reachability"] == findings["conditions"] == "good"


def test_a_missing_container_and_a_wrong_key_are_said(
    server: AzureServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(url: str) -> str:
        with pytest.raises(StoreUnavailable) as caught:
            await (await open_store(parse_url(url))).close()
        assert "\n" not in str(caught.value)
        return str(caught.value)

    missing = server.url.replace("az://elections/", "az://no-such-container/")
    assert "is not there: create the bucket" in asyncio.run(refused(missing))
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "aHVudGVyMg==")
    said = asyncio.run(refused(server.url.replace("/tests", "/others")))
    assert "refuses us (403" in said
    assert "aHVudGVyMg" not in said
