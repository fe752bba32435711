"""``doctor``: what it says of a store that is there, of one that is not, and of settings."""

import json
from pathlib import Path

import pytest

from elector.stores.port import Finding
from tests.cli.scene import Scene
from tests.cli.test_reading import documented_keys


def test_a_good_store_is_tried_and_found_good(scene: Scene) -> None:
    told = scene.ask("doctor", "--json")
    assert told.returncode == 0, told.stderr
    findings = json.loads(told.stdout)
    assert {finding["level"] for finding in findings} == {"good"}
    assert findings[-1]["what"] == "trial"
    assert set(findings[0]) == set(Finding.__struct_fields__)
    assert scene.ask_json("status", "elector-doctor")["token"] == 10


def test_people_get_a_line_for_each_finding(scene: Scene) -> None:
    told = scene.ask("doctor", "--ttl", "1ms")
    assert told.returncode == 1
    head, *lines = told.stdout.splitlines()
    assert head.startswith("sqlite://")
    assert [line.split()[0] for line in lines] == ["good"] * 4 + ["bad", "good"]
    assert "below this store's least" in lines[-2]


def test_without_a_trial_nothing_is_made(scene: Scene, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere.db"
    told = scene.ask("doctor", "--no-trial", "--store", f"sqlite:///{nowhere}")
    assert told.returncode == 1
    assert "there is no database" in told.stdout
    assert not nowhere.exists()


def test_keys_are_documented(scene: Scene) -> None:
    assert documented_keys(scene, "doctor")[1:] == ["level", "says", "remedy"]


@pytest.mark.parametrize("url", ["pigeons://x", "x"])
def test_what_is_no_store_is_a_wrong_argument(scene: Scene, url: str) -> None:
    told = scene.ask("doctor", "--store", url)
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.startswith("elector: ")
