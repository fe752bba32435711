"""``status``, ``watch`` and ``history``: for people and for machines; and who reads no further."""

import json
import os
import re
import select
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from tests.cli.scene import ELECTOR, Scene

UTC_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00"
PATIENCE = 30


def documented_keys(scene: Scene, verb: str) -> list[str]:
    """The names in the help of a verb between "Keys:" and the first full stop."""
    text = " ".join(scene.ask(verb, "--help").stdout.split())
    keys = text.partition("Keys: ")[2].partition(".")[0].partition(": completed")[0]
    plain = re.sub(r"\([^)]*\)", "", keys).replace(" and ", ", ")
    return [key.strip() for key in plain.split(",")]


def test_status(scene: Scene) -> None:
    leader = scene.run("web-1", "work")
    scene.works(leader)
    waiters = [scene.run("web-2", "work")]
    scene.waits(*waiters)
    waiters.append(scene.run("web-3", "work"))
    scene.waits(*waiters)
    status = scene.ask_json("status", "nightly")
    left = status.pop("expires_in_ns")
    assert 0 < left <= 60e9
    assert re.fullmatch(UTC_TIME, status.pop("since"))
    assert status == {
        "election": "nightly",
        "leader": "web-1",
        "token": 1,
        "waiting": ["web-2", "web-3"],
    }
    table = scene.ask("status").stdout.splitlines()
    assert table[0].split() == ["election", "leader", "token", "lease", "since", "waiting"]
    assert re.fullmatch(rf"nightly +web-1 +1 +[\d.]+s +{UTC_TIME} +web-2, web-3", table[1])


def test_status_of_what_is_over_or_never_was(scene: Scene) -> None:
    for name in ("b", "a"):
        assert scene.ask("run", name, "-q", "--", "true").returncode == 0
    nobody: dict[str, Any] = {"leader": None, "token": 1, "expires_in_ns": None}
    nobody.update(since=None, waiting=[])
    both = scene.ask_json("status")
    assert both == [{"election": "a", **nobody}, {"election": "b", **nobody}]
    assert sorted(both[0]) == sorted(documented_keys(scene, "status"))
    assert scene.ask_json("status", "never-was") == {
        "election": "never-was",
        **nobody,
        "token": 0,
    }
    assert re.fullmatch(
        r"(?s)election .*\na +\(nobody\) +1 +- +- +-\nb .*", scene.ask("status").stdout
    )


def test_history(scene: Scene) -> None:
    for end in ("true", "false"):
        scene.ask("run", "nightly", "--candidate", "web-1", "--", end)
    leader = scene.run("web-2", "work")
    scene.works(leader)
    history = scene.ask_json("history", "nightly")
    told = [(t["token"], t["holder"], t["reason"]) for t in history]
    assert told == [(3, "web-2", None), (2, "web-1", "failed"), (1, "web-1", "completed")]
    assert history[0]["ended"] is None
    times = [t["began"] for t in history] + [history[1]["ended"]]
    assert all(re.fullmatch(UTC_TIME, time) for time in times)
    for tenure in history:
        assert sorted(tenure) == sorted(documented_keys(scene, "history"))
    assert scene.ask_json("history", "nightly", "--limit", "1") == history[:1]
    assert scene.ask_json("history", "never-was") == []
    table = scene.ask("history", "nightly").stdout
    assert re.search(rf"\n3 +web-2 +{UTC_TIME} +- +\(in office\)\n2 +web-1 .* failed\n", table)


# -- watch -------------------------------------------------------------------------------------


@contextmanager
def watching(scene: Scene, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [*ELECTOR, "watch", "nightly", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=scene.environment(),
        bufsize=0,
    ) as watch:
        try:
            yield watch
        finally:
            watch.kill()


def line(stream: IO[bytes] | None) -> str:
    """The next line of an unbuffered stream, or a failed test."""
    assert stream is not None
    text = b""
    while not text.endswith(b"\n"):
        assert select.select([stream], [], [], PATIENCE)[0], f"only {text!r} came"
        text += (piece := os.read(stream.fileno(), 1))
        assert piece, f"it ended after {text!r}"
    return text.decode()


def test_watch_tells_every_change_until_interrupted(scene: Scene) -> None:
    with watching(scene, "--json") as watch:

        def told() -> dict[str, Any]:
            seen: dict[str, Any] = json.loads(line(watch.stdout))
            assert seen.pop("election") == "nightly"
            assert re.fullmatch(UTC_TIME, seen.pop("at"))
            return seen

        vacant = {"state": "vacant", "leader": None, "token": None}
        assert told() == vacant
        for token in (1, 2):
            leader = scene.run(f"web-{token}", "work")
            assert told() == {"state": "led", "leader": f"web-{token}", "token": token}
            if token == 1:
                leader.send(signal.SIGTERM)
            else:
                leader.send(signal.SIGKILL)  # and nobody is there to take over
            assert told() == vacant
        keys = {"election", "state", "leader", "token", "at"}
        assert set(documented_keys(scene, "watch")) == keys
        watch.send_signal(signal.SIGINT)
        out, err = watch.communicate(timeout=PATIENCE)
        assert (watch.returncode, out, err.strip()) == (130, b"", b"")


def test_watch_speaks_to_people(scene: Scene) -> None:
    with watching(scene) as watch:
        assert re.fullmatch(rf"{UTC_TIME}  nightly: nobody leads\n", line(watch.stdout))
        scene.run("web-1", "work")
        assert re.fullmatch(rf"{UTC_TIME}  nightly: web-1 leads \(token 1\)\n", line(watch.stdout))


def test_watch_ends_when_nobody_reads_it_any_more(scene: Scene) -> None:
    with watching(scene, "--json") as watch:
        line(watch.stdout)
        assert watch.stdout is not None
        assert watch.stderr is not None
        watch.stdout.close()
        scene.run("web-1", "work")  # something to tell
        watch.wait(PATIENCE)
        assert (watch.returncode, watch.stderr.read()) == (141, b"")


def test_history_of_more_than_can_be_counted(scene: Scene) -> None:
    assert scene.ask("run", "nightly", "-q", "--", "true").returncode == 0
    assert len(scene.ask_json("history", "nightly", "--limit", "9" * 30)) == 1


# -- output that cannot be written -------------------------------------------------------------


def test_nobody_reads_or_the_disk_is_full(scene: Scene) -> None:
    assert scene.ask("run", "nightly", "-q", "--", "true").returncode == 0
    for number, verb in enumerate(("status", "history nightly --json", "completion bash")):
        deaf_reader, full = (
            scene.start(
                f"{number}{end[0]}", "bash", "-c", f'"$@" {end}', "bash", *ELECTOR, *verb.split()
            )
            for end in ("| true; exit ${PIPESTATUS[0]}", ">/dev/full")
        )
        deaf_reader.popen.wait()
        # Whether the reader had gone before it was written to is a matter of luck.
        assert (deaf_reader.popen.returncode, deaf_reader.err()) in {(141, ""), (0, "")}
        assert full.ended(1) == "elector: [Errno 28] No space left on device\n"
