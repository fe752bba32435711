"""``simulate``, ``verify`` and ``replay``, as people and programs use them."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.scene import ELECTOR

PNG = b"\x89PNG"


def elector(folder: Path, words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run(
        [*ELECTOR, *words.split()],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert ended.returncode == code, ended.stderr + ended.stdout
    assert "Traceback" not in ended.stderr
    return ended


def complaint(folder: Path, words: str) -> str:
    """The one line that a mistake gets."""
    said = elector(folder, words, code=2).stderr
    assert said.startswith("elector: ")
    assert said.count("\n") == 1
    return said


# -- simulate ------------------------------------------------------------------------------------


def test_one_run_for_people(tmp_path: Path) -> None:
    said = elector(
        tmp_path,
        "simulate lease --nodes 5 --for 5m --faults chaos --seed 7",
    )
    assert said.stdout.startswith("lease, 5 nodes, 1 run (seed 7)")
    assert re.search(r"LeaseDisjoint +always +holds", said.stdout)
    assert said.stderr == ""


def test_a_sweep_for_programs(tmp_path: Path) -> None:
    words = "simulate raft --nodes 5 --crash-leader --seeds 40 --jobs 2 --json --plot out.png"
    facts = json.loads(elector(tmp_path, words).stdout)
    assert facts["runs"] == facts["failover"]["n"] == 40
    assert facts["failover"]["median_ns"] <= facts["failover"]["p999_ns"]
    assert facts["properties"]["TermUnique"]["outcomes"] == {"holds": 40}
    assert facts["failure"] is None
    assert (tmp_path / "out.png").read_bytes().startswith(PNG)


def test_its_help_names_its_keys(tmp_path: Path) -> None:
    facts = json.loads(elector(tmp_path, "simulate raft --for 1s --json").stdout)
    text = elector(tmp_path, "simulate --help").stdout
    assert not [key for key in facts if key not in text]


def test_the_list_has_all_there_is(tmp_path: Path) -> None:
    said = elector(tmp_path, "simulate --list").stdout
    for word in ("lease", "chaos", "bridge", "drift_bound", "redis", "cloudflare-2020"):
        assert word in said


def test_a_story_is_written_run_again_and_drawn(tmp_path: Path) -> None:
    elector(tmp_path, "simulate --scenario gc-pause --trace story.ndjson")
    said = elector(tmp_path, "replay story.ndjson").stdout
    assert re.search(r"n\d +write +token=1 accepted=False", said)
    assert re.search(r"the same run: \d+ records, to the byte", said)
    facts = json.loads(elector(tmp_path, "replay story.ndjson --json").stdout)
    assert facts["same"] is True
    assert facts["differs_at"] is None
    steps = elector(tmp_path, "verify --trace story.ndjson").stdout
    assert "the protocol takes every one of them so" in steps


def test_an_edited_story_is_not_the_same(tmp_path: Path) -> None:
    elector(tmp_path, "simulate raft --for 2s --trace story.ndjson")
    path = tmp_path / "story.ndjson"
    path.write_text(path.read_text().replace('"kind":"lead"', '"kind":"lead","until":9', 1))
    said = elector(tmp_path, "replay story.ndjson -q", code=1).stdout
    assert "not the same run from record" in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("simulate", "name a protocol to simulate: lease, raft"),
        ("simulate paxos", "there is no protocol 'paxos' to simulate; there are: lease, raft"),
        ("simulate raft --faults mild", "there are no faults 'mild'; there are: none, calm"),
        ("simulate --scenario y2k", "there is no scenario 'y2k'; there are: cloudflare-2020"),
        ("simulate lease --scenario chained", "scenario 'chained' is one of raft"),
        ("simulate lease --store floppy", "there is no model of a store 'floppy'"),
        ("simulate raft --timeout 5..9", "election timeout '5' is not a duration"),
        ("simulate raft --delay quick", "delay"),
        ("simulate raft --drift much", "drift 'much' is not a share"),
        ("simulate raft --executor slurm --seeds 2", "there is no executor 'slurm'"),
        ("simulate raft --loss 2", "--loss"),
        ("replay nowhere.ndjson", "cannot read the trace nowhere.ndjson: No such file"),
        ("verify", "name one: lease, raft"),
        ("verify paxos", "there is no protocol 'paxos' to verify"),
        ("verify raft --nodes 99", "nodes is 99"),
        ("verify raft --property Beauty", "the explorer judges no property 'Beauty'"),
        ("verify raft --max-memory lots", "max-memory 'lots' is no amount"),
        ("verify raft --liveness --links 0-9", "link '0-9' is none between nodes 0 to 2"),
        ("verify lease --candidates 0", "candidates is 0"),
        ("verify --trace nowhere.ndjson", "cannot read the trace nowhere.ndjson"),
    ],
)
def test_a_mistake_gets_one_line(tmp_path: Path, words: str, says: str) -> None:
    assert says in complaint(tmp_path, words)


def test_what_is_no_trace_is_said(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello\n")
    (tmp_path / "old").write_text('{"kind":"header","format":0,"elector":"0.0.1"}\n')
    assert "text is no trace of elector" in complaint(tmp_path, "replay text")
    assert "format 0 and was written by elector 0.0.1" in complaint(tmp_path, "replay old")


@pytest.mark.parametrize("option", ["--failure", "--trace"])
def test_a_file_that_has_something_in_it_is_refused_before_the_sweep(
    tmp_path: Path, option: str
) -> None:
    """Not after it: its report would be lost."""
    (tmp_path / "old.ndjson").write_text("of an earlier run\n")
    said = complaint(tmp_path, f"simulate raft --seeds 1000000 {option} old.ndjson")
    assert "old.ndjson is not empty: name another file, or remove it" in said
    assert (tmp_path / "old.ndjson").read_text() == "of an earlier run\n"


def test_an_interrupted_sweep_reports_what_it_has(tmp_path: Path) -> None:
    asked = "simulate raft --seeds 100000 --jobs 2 --json --faults chaos"
    words = [*ELECTOR, *asked.split()]
    sweep = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            sweep.wait(4)  # it goes on for much longer
        sweep.send_signal(signal.SIGINT)
        said, _ = sweep.communicate(timeout=60)
    finally:
        sweep.kill()
        sweep.wait()
    assert sweep.returncode == 130
    assert json.loads(said)["runs"] < 100_000


# -- verify --------------------------------------------------------------------------------------


def test_everything_in_a_small_world_holds(tmp_path: Path) -> None:
    said = elector(tmp_path, "verify raft --nodes 3 --terms 1 --restarts 1").stdout
    assert "everything in this scope was seen, and holds" in said
    facts = json.loads(elector(tmp_path, "verify lease --json").stdout)
    assert facts["holds"] is True
    assert facts["states"] > 1000
    text = elector(tmp_path, "verify --help").stdout
    assert not [key for key in facts if key not in text]


def test_a_broken_assumption_breaks_the_promise(tmp_path: Path) -> None:
    words = "verify lease --real-drift 60%"
    said = elector(tmp_path, words, code=1).stdout
    assert "LeaseDisjoint is violated after" in said
    elector(tmp_path, f"{words} --expect-violation LeaseDisjoint")
    elector(tmp_path, f"{words} --expect-violation TermUnique", code=1)
    elector(tmp_path, "show counterexample.ndjson")
    assert "elector" in (tmp_path / "counterexample.html").read_text()


def test_what_was_expected_and_did_not_come(tmp_path: Path) -> None:
    words = "verify raft --nodes 2 --terms 1 --expect-violation TermUnique"
    said = elector(tmp_path, words, code=1).stderr
    assert said == "elector: TermUnique was expected to be violated, and is not\n"


def test_a_scope_that_does_not_fit_stops_where_it_is(tmp_path: Path) -> None:
    words = "verify raft --nodes 4 --terms 3 --full --max-memory 90M"
    said = elector(tmp_path, words, code=3).stdout
    assert re.search(r"the memory it may use is full: [\d,]+ states were still to be tried", said)


def test_plain_raft_on_partial_links_never_rests(tmp_path: Path) -> None:
    words = "verify raft --nodes 5 --liveness --links 0-1,0-2,1-2,1-3,2-4"
    assert "for ever the patience of" in elector(tmp_path, words, code=1).stdout
    rests = elector(tmp_path, f"{words} --pre-vote --check-quorum").stdout
    assert "on every fair way a leader stays" in rests


def test_a_bug_in_the_code_is_found_shrunk_and_shown(tmp_path: Path) -> None:
    """The command of an installation that somebody broke."""
    (tmp_path / "sitecustomize.py").write_text(
        "import elector.protocols.raft as raft\n"
        "real = raft.Raft.__init__\n"
        "def broken(self, node, members, settings):\n"
        "    real(self, node, members, settings)\n"
        "    self.quorum = max(1, (len(members) + 1) // 2)\n"
        "raft.Raft.__init__ = broken\n"
    )
    words = "simulate raft --nodes 4 --plain --faults lossy --for 5s --seeds 20 --executor serial"
    ended = subprocess.run(
        [sys.executable, "-m", "elector", *words.split()],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert ended.returncode == 1, ended.stderr
    assert "is violated; the smallest run that shows it is in failure.ndjson" in ended.stdout
    assert (tmp_path / "failure.ndjson").stat().st_size > 0
