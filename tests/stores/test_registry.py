"""From a URL to a store, and what a wrong URL gets."""

import asyncio
import importlib
import importlib.metadata
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elector.errors import ConfigurationError, StoreUnavailable
from elector.stores import registry
from elector.stores.memory import MemoryStore
from elector.stores.registry import StoreUrl, default_url, factory_for, open_store, parse_url


def plug_in(monkeypatch: pytest.MonkeyPatch, **targets: str) -> None:
    points = EntryPoints(
        EntryPoint(name, target, registry.ENTRY_POINT_GROUP) for name, target in targets.items()
    )
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda group: points.select(group=group)
    )


def test_an_unknown_scheme_gets_a_list_of_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, carrier="pigeons:open_store")
    with pytest.raises(ConfigurationError) as refused:
        factory_for("zookeeper")
    message = str(refused.value)
    assert "zookeeper://" in message
    assert "az://, carrier://, etcd://, etcds://, file://, gs://, memory://, postgres://" in message
    assert registry.ENTRY_POINT_GROUP in message
    assert "\n" not in message


@pytest.mark.parametrize("text", ["", "nightly", "/var/lib/x.db", "sqlite:/x", "://x", "C:\\x"])
def test_what_is_no_url_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"sqlite:///elections\.db"):
        parse_url(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://app:hunter2@db:6379/0", "redis://app:***@db:6379/0"),
        ("redis://:hunter2@db/0", "redis://:***@db/0"),
        ("redis://app@db/0", "redis://app@db/0"),
        ("redis://app:hunt@er2@db/0", "redis://app:***@db/0"),
        ("etcd://db?password=hunter2&x=1", "etcd://db?password=***&x=1"),
        ("etcd://db?ssl_KEY=hunter2", "etcd://db?ssl_KEY=***"),
        ("etcd://db?key=hunter2", "etcd://db?key=***"),
        ("etcds://db?key=/etc/me.key&ca=ca.pem", "etcds://db?key=/etc/me.key&ca=ca.pem"),
        ("etcd://db?x=1&api_token=hunter2", "etcd://db?x=1&api_token=***"),
        ("sqlite:////var/lib/a@b.db", "sqlite:////var/lib/a@b.db"),
    ],
)
def test_secrets_do_not_show(text: str, shown: str) -> None:
    url = parse_url(text)
    assert str(url) == shown
    assert f"{url.scheme}://{url.rest}" == text, "but the adapter gets them"


def test_a_secret_does_not_show_in_the_refusal_either() -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_url("app:hunter2@db:6379/0")
    assert "hunter2" not in str(refused.value)


@given(st.text(st.sampled_from("abc/:@?&=%. "), max_size=12))
def test_no_password_is_shown_whatever_stands_around_it(path: str) -> None:
    assert "hunter2" not in str(parse_url(f"redis://app:hunter2@db/{path}"))
    assert "hunter2" not in str(parse_url(f"redis://db/?a={path.replace('&', '')}&secret=hunter2"))


def test_the_scheme_is_read_in_any_case() -> None:
    assert parse_url("SQLite:///x.db") == StoreUrl("sqlite", "/x.db")


def test_a_third_party_is_found_through_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    async def open_pigeons(url: StoreUrl) -> MemoryStore:
        return MemoryStore(f"pigeons {url.rest}")

    pigeons = ModuleType("pigeons")
    pigeons.__dict__["open_store"] = open_pigeons
    monkeypatch.setitem(sys.modules, "pigeons", pigeons)
    plug_in(monkeypatch, carrier="pigeons:open_store")
    store = asyncio.run(open_store(parse_url("carrier://loft")))
    assert isinstance(store, MemoryStore)


def test_our_own_schemes_cannot_be_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, memory="pigeons:open_store")
    assert isinstance(asyncio.run(open_store(parse_url("memory://ours"))), MemoryStore)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    known = registry._Known("elector.stores.of_the_future:open_store", extra="future")
    monkeypatch.setitem(registry._KNOWN, "future", known)

    def without_its_library(name: str) -> ModuleType:
        raise ModuleNotFoundError(f"No module named 'warp' for {name}", name="warp")

    monkeypatch.setattr(importlib, "import_module", without_its_library)
    with pytest.raises(ConfigurationError, match=r"needs warp: pip install 'elector\[future\]'"):
        factory_for("future")


def test_our_own_broken_import_is_not_called_a_missing_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(registry._KNOWN, "broken", registry._Known("elector.no_such:open_store"))
    with pytest.raises(ModuleNotFoundError):
        factory_for("broken")


def test_adapters_are_imported_when_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = importlib.import_module

    def noted(name: str) -> ModuleType:
        asked.append(name)
        return real(name)

    monkeypatch.setattr(importlib, "import_module", noted)
    factory_for("memory")
    assert asked == ["elector.stores.memory"]


def test_the_default_lies_in_the_users_state_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert default_url() == "sqlite:////state/elector/elections.db"
    monkeypatch.setenv("HOME", "/home/ada")
    for unusable in ("", "relative"):
        monkeypatch.setenv("XDG_STATE_HOME", unusable)
        assert default_url() == "sqlite:////home/ada/.local/state/elector/elections.db"
    monkeypatch.delenv("XDG_STATE_HOME")
    assert default_url() == "sqlite:////home/ada/.local/state/elector/elections.db"


@pytest.mark.parametrize("scheme", ["sqlite:///", "file://"])
def test_what_the_system_refuses_while_a_store_is_opened_is_unavailable(
    tmp_path: Path, scheme: str
) -> None:
    url = parse_url(f"{scheme}{tmp_path}/{'x' * 300}")
    with pytest.raises(StoreUnavailable, match=r"File name too long; .* with --store"):
        asyncio.run(open_store(url))
