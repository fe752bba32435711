"""``resign`` and ``transfer``: the leader goes when its work has stopped, and says so."""

import fcntl
import os
import signal

from tests.cli.scene import ELECTOR, SHORT, Scene, freeze
from tests.runtime.waiting import until
from tests.runtime.witness import BEGIN, check, entries

WHO_WAS_ASKED = {"election", "leader", "token", "handed_over", "next"}


def test_resign_hands_over_to_the_next_in_line(scene: Scene) -> None:
    first = scene.run("first", "work")
    scene.works(first)
    second = scene.run("second", "work")
    scene.waits(second)
    answer = scene.ask_json("resign", "nightly")
    assert answer == {
        "election": "nightly",
        "leader": "first",
        "token": 1,
        "handed_over": True,
        "next": "second",
    }
    said = first.ended(76)
    assert "stopping the command: resigned" in said
    assert "leadership ended: resigned" in said
    scene.works(second)
    assert scene.reasons() == ["resigned", None]
    check(entries(scene.diary))


def test_with_campaign_the_former_leader_stands_again(scene: Scene) -> None:
    # A former leader lets others go first for a third of its ttl, so let that be short.
    first = scene.run("first", "work", "--on-loss", "campaign", ttl=SHORT)
    scene.works(first)
    second = scene.run("second", "work")
    scene.waits(second)
    done = scene.ask("resign", "nightly")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "nightly: first has handed over; next: second\n"
    scene.works(second)
    scene.waits(first)
    second.send(signal.SIGKILL)
    assert scene.leader(first, after=2) is first
    assert first.err().count("leads (token ") == 3  # itself, the second one, itself
    check(entries(scene.diary))


def test_resign_waits_for_the_work_and_says_when_it_does_not_stop(scene: Scene) -> None:
    first = scene.run("first", "listen")
    scene.works(first)
    second = scene.run("second", "work")
    scene.waits(second)
    late = scene.ask("resign", "nightly", "--wait", "100ms")
    assert (late.returncode, late.stdout) == (75, "")
    assert late.stderr == (
        "elector: nightly: first was asked, but is still in office after 100ms: "
        "its work has not stopped\n"
    )
    scene.saw(first, "heard:SIGTERM")
    patient = scene.start("patient", *ELECTOR, "resign", "nightly")
    until(lambda: scene.read("SELECT 1 FROM elector_waiters WHERE name IS NULL"))
    scene.cue(first, "done")
    first.ended(76)
    patient.ended(0)
    assert "next: second" in patient.out()
    check(entries(scene.diary))


def test_what_does_not_stop_after_resigning_is_killed_when_the_lease_is_not_kept_any_more(
    scene: Scene,
) -> None:
    first = scene.run("first", "deaf", "--drain-limit", "0s", ttl=SHORT)
    scene.works(first)
    second = scene.run("second", "work", ttl=SHORT)
    scene.waits(second)
    lease_end = scene.lease_end()
    assert scene.ask("resign", "nightly").returncode == 0
    first.ended(76)
    scene.works(second)
    assert not scene.late(first, lease_end + int(2e9))  # one renewal may have been under way
    check(entries(scene.diary))


def test_transfer_passes_over_who_was_there_before(scene: Scene) -> None:
    first = scene.run("first", "work")
    scene.works(first)
    second = scene.run("second", "work")
    scene.waits(second)
    third = scene.run("third", "work")
    scene.waits(third)
    done = scene.ask("transfer", "nightly", "third")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "nightly: first has handed over; next: third\n"
    first.ended(76)
    scene.works(third)
    assert scene.reasons() == ["transferred", None]
    answer = scene.ask_json("transfer", "nightly", "second")
    assert set(answer) == WHO_WAS_ASKED
    assert (answer["leader"], answer["next"]) == ("third", "second")
    scene.works(second)
    check(entries(scene.diary))


def test_transfer_to_someone_who_does_not_wait_changes_nothing(scene: Scene) -> None:
    first = scene.run("first", "work")
    scene.works(first)
    heirs = ("nobody-we-know", "first", "--", "not a name")
    for refused in [scene.start(heir, *ELECTOR, "transfer", "nightly", heir) for heir in heirs]:
        assert refused.ended(2).count("\n") == 1
        assert refused.out() == ""
    scene.works(first, len(entries(scene.diary)) + 5)
    assert scene.reasons() == [None]


def test_nobody_leads(scene: Scene) -> None:
    assert scene.ask("run", "nightly", "-q", "--", "true").returncode == 0
    for verb in (["resign", "nightly"], ["transfer", "nightly", "web-2"]):
        done = scene.ask(*verb)
        assert (done.returncode, done.stdout, done.stderr) == (0, "nightly: nobody leads\n", "")
    nobody = {"leader": None, "token": 1, "handed_over": False, "next": None}
    assert scene.ask_json("resign", "nightly") == {"election": "nightly", **nobody}


def test_a_frozen_leader_cannot_hand_over_but_its_lease_ends(scene: Scene) -> None:
    first = scene.run("first", "work", ttl=SHORT)
    scene.works(first)
    freeze(first.pid)
    done = scene.ask("resign", "nightly", "--wait", "3s")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "nightly: first has handed over; next: (nobody)\n"


def test_asked_to_resign_before_its_work_began(scene: Scene) -> None:
    """Elected while the terminal (here: a full pipe) holds it up: the work must not begin."""
    first = scene.run("first", "work")
    scene.works(first)
    reader, writer = full_pipe()
    command = ("run", "nightly", "--candidate", "second", "--ttl", "6s", "--")
    second = scene.start("second", *ELECTOR, *command, *scene.job("work"), stderr=writer)
    os.close(writer)
    scene.waits(second)
    first.send(signal.SIGTERM)
    first.ended(143)
    until(lambda: scene.read("SELECT holder FROM elector_elections") == [("second",)])
    assert scene.ask("resign", "nightly").returncode == 0
    third = scene.run("third", "work")
    scene.works(third)
    drain(reader)
    scene.waits(second)  # it stands again: nothing of its own has been interrupted
    assert second.name not in {entry.who for entry in entries(scene.diary, BEGIN)}
    check(entries(scene.diary))
    os.close(reader)


def full_pipe() -> tuple[int, int]:
    """A pipe into which not one byte fits any more."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x")
    except BlockingIOError:
        os.set_blocking(writer, True)
    return reader, writer


def drain(reader: int) -> None:
    os.set_blocking(reader, False)
    try:
        while True:
            os.read(reader, 65536)
    except BlockingIOError:
        return
