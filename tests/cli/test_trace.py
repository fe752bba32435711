"""``elector run --trace`` in real processes, and what ``elector verify --trace`` makes of it."""

import json
import signal
import sys
from pathlib import Path

import pytest

from elector.protocols import lease
from elector.trace import records
from elector.trace.ndjson import read
from elector.verification.divergence import first_divergence
from tests.cli.scene import SHORT, Process, Scene, freeze, thaw
from tests.mutants.mutation import mutated
from tests.runtime.waiting import until

SHOW_ENV = "import json, os; print(json.dumps(dict(os.environ)))"


def trace_of(scene: Scene, process: Process) -> Path:
    return scene.directory / f"{process.name}.ndjson"


def traced(scene: Scene, name: str, act: str = "work", *options: str, ttl: str = SHORT) -> Process:
    path = scene.directory / f"{name}.ndjson"
    return scene.run(name, act, "--trace", str(path), *options, ttl=ttl)


def verified(scene: Scene, path: Path) -> list[records.Record]:
    """Every step of a trace, taken again by the command and here; what stands in it."""
    done = scene.ask("verify", "--trace", str(path))
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    header, told = read(path, tolerant=True)
    found = list(told)
    assert header.world == "production"
    assert first_divergence(header, found) is None
    return found


def works(told: list[records.Record]) -> list[str]:
    return [one.what for one in told if isinstance(one, records.Work)]


def test_a_leader_that_is_killed_and_its_successor(scene: Scene) -> None:
    first = traced(scene, "web-1")
    scene.works(first)
    second = traced(scene, "web-2")
    scene.waits(second)
    scene.works(first, count=200)  # some renewals
    first.send(signal.SIGKILL)
    scene.works(second)
    scene.cue(second, "done")
    second.ended(0)

    told = verified(scene, trace_of(scene, first))
    assert works(told) == ["began"]
    assert not isinstance(told[-1], records.End)

    told = verified(scene, trace_of(scene, second))
    assert works(told) == ["began", "stopped"]
    assert isinstance(told[-1], records.End)
    leaders = [(one.leader, one.name) for one in told if isinstance(one, records.Follow)]
    assert leaders.index((None, "web-1")) < leaders.index((0, ""))


def test_a_leader_that_is_frozen_beyond_its_lease(scene: Scene) -> None:
    first = traced(scene, "web-1", "work", "--on-loss", "campaign")
    scene.works(first)
    second = traced(scene, "web-2")
    scene.waits(second)
    freeze(first.pid)
    scene.works(second)
    thaw(first.pid)
    until(lambda: "stepdown" in trace_of(scene, first).read_text())
    scene.cue(second, "done")
    second.ended(0)
    first.send(signal.SIGTERM)
    first.popen.wait()
    told = verified(scene, trace_of(scene, first))
    (lead, *_), (down, *_) = (
        [one for one in told if isinstance(one, kind)] for kind in (records.Lead, records.StepDown)
    )
    renewed = [one.until for one in told if isinstance(one, records.Lead) and one.t < down.t]
    assert lead.token == down.token == 1
    assert down.t > max(end or 0 for end in renewed)
    assert isinstance(told[-1], records.End)
    verified(scene, trace_of(scene, second))


def test_an_edited_line_is_found_at_its_place(scene: Scene) -> None:
    process = traced(scene, "web-1")
    scene.works(process)
    scene.cue(process, "done")
    process.ended(0)
    path = trace_of(scene, process)
    lines = path.read_text().splitlines()
    place = next(n for n, line in enumerate(lines) if '"type":"Granted"' in line)
    step = json.loads(lines[place])
    step["after"]["deadlines"]["hard_ns"] += 1
    lines[place] = json.dumps(step)
    path.write_text("\n".join(lines) + "\n")

    done = scene.ask("verify", "--trace", str(path), "--json")
    assert (done.returncode, done.stderr) == (1, "")
    divergence = json.loads(done.stdout)["divergence"]
    assert divergence["line"] == place + 1
    assert [one["where"] for one in divergence["differences"]] == ["after.deadlines.hard_ns"]
    assert (
        f"line {place + 1}: web-1, told Granted:"
        in scene.ask("verify", "--trace", str(path)).stdout
    )


def test_other_code_is_found(scene: Scene) -> None:
    process = traced(scene, "web-1")
    scene.works(process)
    scene.cue(process, "done")
    process.ended(0)
    counted_from_the_reply = mutated(
        lease,
        "since = state.sent_at if state.doubt_since is None",
        "since = event.at if state.doubt_since is None",
    )
    divergence = first_divergence(
        *read(trace_of(scene, process)), lease=counted_from_the_reply.LeaseCandidate
    )
    assert divergence is not None
    assert divergence.what == "told Granted"
    assert "after.deadlines.hard_ns" in {one.where for one in divergence.differences}


def test_the_variable_names_a_file_for_elector_alone(scene: Scene) -> None:
    path = scene.directory / "by-variable.ndjson"
    process = scene.command(
        "web-1", sys.executable, "-I", "-S", "-c", SHOW_ENV, ELECTOR_TRACE=str(path)
    )
    process.ended(0)
    assert "ELECTOR_TRACE" not in json.loads(process.out())
    assert path.stat().st_mode & 0o777 == 0o600
    assert isinstance(verified(scene, path)[-1], records.End)


def test_a_full_disk_is_said_once(scene: Scene) -> None:
    process = scene.command("web-1", "true", options=("--trace", "/dev/full"))
    said = process.ended(0)
    assert said.count("the trace /dev/full ends early: No space left on device") == 1
    quiet = scene.command("web-1", "true", options=("--trace", "/dev/full", "--json"))
    events = [json.loads(line)["event"] for line in quiet.ended(0).splitlines()]
    assert events.count("trace") == 1


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (
            "used.ndjson",
            "is not empty: a trace is of one run alone; name another file or remove it",
        ),
        ("missing/a.ndjson", "missing/a.ndjson: No such file or directory"),
        ("used.ndjson/a.ndjson", "used.ndjson/a.ndjson: Not a directory"),
        ("/proc/a.ndjson", "/proc/a.ndjson: No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_before_anybody_stands(
    scene: Scene, name: str, why: str
) -> None:
    (scene.directory / "used.ndjson").write_text("mine\n")
    process = scene.command("web-1", "true", options=("--trace", name))
    assert process.ended(2) == f"elector: {_beginning(name)}{why}\n"
    assert (scene.directory / "used.ndjson").read_text() == "mine\n"
    assert not scene.database.exists()


def _beginning(name: str) -> str:
    return "used.ndjson " if name == "used.ndjson" else "cannot write the trace "
