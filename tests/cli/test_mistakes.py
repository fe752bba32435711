"""A user's mistake, a broken store, a full disk: one line on stderr, a documented code, no loss."""

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.scene import ELECTOR, SHORT, Process, Scene

USAGE, UNAVAILABLE = 2, 69


def complaint(process: Process, code: int) -> str:
    """The one line that a mistake gets."""
    said = process.ended(code)
    assert (process.out(), said.count("\n")) == ("", 1), said
    assert said.startswith("elector: ")
    return said


def complaints(scene: Scene, *cases: tuple[list[str], int, str]) -> None:
    """Start all, two or three at a time, and hear all."""
    for first in range(0, len(cases), 3):
        some = cases[first : first + 3]
        started = [scene.start(f"{first + n}", *ELECTOR, *case[0]) for n, case in enumerate(some)]
        for process, (arguments, code, text) in zip(started, some, strict=True):
            said = complaint(process, code)
            assert text in said, (arguments, said)


def test_settings(scene: Scene) -> None:
    def run(*options: str) -> list[str]:
        return ["run", "nightly", *options, "--", "touch", "ran"]

    complaints(
        scene,
        (run("--ttl", "15"), USAGE, "did you mean 15s?"),
        (run("--ttl", "0s"), USAGE, "ttl must be more than 0s"),
        (run("--ttl", "5s", "--stop-grace", "4s"), USAGE, "the timing budget does not fit"),
        (run("--ttl", "100ms"), USAGE, "too short for a sqlite:// store"),
        (run("--ttl", "9" * 400 + "s"), USAGE, "longer than a hundred years"),
        (run("--timeout", "10 minutes"), USAGE, "timeout '10 minutes' is not a duration"),
        (run("--on-loss", "cry"), USAGE, "is not one of 'exit', 'campaign'"),
        (run("--candidate", "a b"), USAGE, "candidate name 'a b' cannot be used"),
        (["resign", "nightly", "--wait", "5"], USAGE, "did you mean 5s?"),
        (["history", "nightly", "--limit", "0"], USAGE, "--limit"),
        (run("--candidate", ""), USAGE, "candidate name '' cannot be used"),
        (run("--store", ""), USAGE, "store '' is not a URL"),
    )
    assert not (scene.directory / "ran").exists()
    assert scene.read("SELECT * FROM elector_elections") == []


def test_words(scene: Scene) -> None:
    complaints(
        scene,
        (["stand"], USAGE, "No such command 'stand'"),
        (["run", "nightly"], USAGE, "Missing argument 'COMMAND...'"),
        (["run", "nightly", "--for-ever", "--", "true"], USAGE, "No such option"),
        (["run", "../x y", "--", "true"], USAGE, "election name '../x y' cannot be used"),
        (["run", "a\nb", "--", "true"], USAGE, "election name 'a\\nb' cannot be used"),
        (["watch", ""], USAGE, "election name '' cannot be used"),
        (["status", os.fsdecode(b"\xff")], USAGE, "election name '\\udcff' cannot be used"),
        (["completion", "tcsh"], USAGE, "is not one of 'bash', 'zsh', 'fish'"),
    )


def test_store_urls(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    def at(url: str) -> list[str]:
        return ["run", "nightly", "--store", url, "--", "true"]

    complaints(
        scene,
        (at("elections.db"), USAGE, "'elections.db' is not a URL"),
        (at("sqlite://relative.db"), USAGE, "write sqlite:///relative.db"),
        (at("sqlite:///"), USAGE, "write sqlite:///relative.db"),
        (at(f"sqlite:///{tmp_path}?mode=ro"), USAGE, "write sqlite:///relative.db"),
        (at(f"sqlite:///{tmp_path}"), USAGE, "is a directory; name a database file in it"),
        (at("sqlite:////dev/null"), USAGE, "is a device or a pipe; name a database file"),
        (at("oracle://scott:tiger@db/x"), USAGE, "no store is installed for oracle://"),
        (at(f"sqlite:///{tmp_path}/file/x.db"), UNAVAILABLE, "cannot make the directory"),
        (at(f"sqlite:///{tmp_path}/{'x' * 300}"), UNAVAILABLE, "File name too long"),
    )


# -- stores that are not as they were ------------------------------------------------------------

VERBS = (["status"], ["run", "nightly", "--", "touch", "ran"])


def founded(scene: Scene) -> None:
    for _ in range(2):
        assert scene.ask("run", "nightly", "-q", "--", "true").returncode == 0


def every_verb_says(scene: Scene, text: str) -> None:
    complaints(scene, *((verb, UNAVAILABLE, text) for verb in VERBS))
    assert not (scene.directory / "ran").exists()


def test_a_store_that_does_not_exist(scene: Scene) -> None:
    verbs = (["status", "nightly"], ["history", "nightly"], ["resign", "nightly"])
    complaints(scene, *((verb, UNAVAILABLE, "nobody has stood there yet") for verb in verbs))
    assert not scene.database.exists()


def test_a_corrupt_database(scene: Scene) -> None:
    scene.database.write_bytes(b"not a database" * 1000)
    every_verb_says(scene, "is damaged or is no SQLite database")
    assert scene.database.read_bytes() == b"not a database" * 1000


@pytest.mark.parametrize("value", [None, "a word"])
def test_a_table_of_another_program_that_has_our_name(scene: Scene, value: str | None) -> None:
    with closing(sqlite3.connect(scene.database, isolation_level=None)) as db:
        db.execute("CREATE TABLE elector_meta (key TEXT, value)")
        if value is not None:
            db.execute("INSERT INTO elector_meta VALUES ('schema', ?)", (value,))
    every_verb_says(scene, "does not say which elector wrote it")


def test_watching_what_cannot_be_trusted_ends_at_once(scene: Scene) -> None:
    store = f"file://{scene.directory}/offices"
    assert scene.ask("run", "nightly", "--store", store, "-q", "--", "true").returncode == 0
    (scene.directory / "offices" / "nightly.epoch").write_text("{")
    watching = ["watch", "nightly", "--store", store]
    complaints(scene, (watching, UNAVAILABLE, "nightly.epoch is damaged"))


def test_a_database_that_was_deleted(scene: Scene) -> None:
    founded(scene)
    kept = scene.database.read_bytes()
    for path in scene.directory.glob("elections.db*"):
        if path.is_file():
            path.unlink()
    complaints(scene, (VERBS[1], UNAVAILABLE, "its tokens would start again at 1"))
    assert not (scene.directory / "ran").exists()
    scene.database.write_bytes(kept)  # what was restored is taken up again
    assert scene.command("web-1", "true").ended(0) == (
        "elector: nightly: web-1 leads (token 3)\nelector: nightly: the command ended with code 0\n"
    )


def test_a_database_of_a_newer_version(scene: Scene) -> None:
    founded(scene)
    with closing(sqlite3.connect(scene.database, isolation_level=None)) as db:
        db.execute("UPDATE elector_meta SET value = value + 1 WHERE key = 'schema'")
        every_verb_says(scene, "was written by a newer elector")
        db.execute("UPDATE elector_meta SET value = value - 1 WHERE key = 'schema'")
    assert scene.ask_json("status", "nightly")["token"] == 2


def test_a_token_that_was_taken_back(scene: Scene) -> None:
    founded(scene)
    with closing(sqlite3.connect(scene.database, isolation_level=None)) as db:
        db.execute("DROP TRIGGER elector_token_rises")
        db.execute("UPDATE elector_elections SET token = 1")
    complaints(scene, (VERBS[1], UNAVAILABLE, "a token never goes back"))
    assert not (scene.directory / "ran").exists()


def test_a_database_that_another_program_holds(scene: Scene) -> None:
    """At the start that is an error; who waits already goes on waiting, and leads afterwards."""
    leader = scene.run("leader", "work")
    scene.works(leader)
    waiter = scene.run("waiter", "work")
    scene.waits(waiter)
    with closing(sqlite3.connect(scene.database, isolation_level=None)) as other_program:
        other_program.execute("BEGIN EXCLUSIVE")
        every_verb_says(scene, "another program holds its lock: end that, or try again")
        assert waiter.popen.poll() is leader.popen.poll() is None
    leader.popen.kill()
    scene.works(waiter)


def test_leaving_while_another_program_holds_the_database(scene: Scene) -> None:
    leader = scene.run("leader", "work")
    scene.works(leader)
    waiter = scene.run("waiter", "work")
    scene.waits(waiter)
    with closing(sqlite3.connect(scene.database, isolation_level=None)) as other_program:
        other_program.execute("BEGIN EXCLUSIVE")
        waiter.popen.terminate()
        leader.popen.terminate()
        waiter.ended(143)
        leader.ended(143)
    successor = scene.run("successor", "work")
    scene.works(successor)  # the kernel told of the leader's end


# -- permissions and disks -----------------------------------------------------------------------


def unprivileged() -> tuple[str, ...]:
    """What to put in front of a command so that permissions hold for it."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("root may write everywhere, and there is no setpriv to give that up")
    return ("setpriv", "--bounding-set=-all", "--inh-caps=-all")


def test_without_permission(scene: Scene) -> None:
    prefix = unprivileged()
    founded(scene)
    locked = scene.directory / "locked"
    locked.mkdir(mode=0o500)
    scene.database.chmod(0o000)

    def attempt(name: str, *arguments: str) -> str:
        return complaint(scene.start(name, *prefix, *ELECTOR, *arguments), UNAVAILABLE)

    try:
        assert "cannot open" in attempt("run", "run", "nightly", "--", "true")
        assert "Permission denied" in attempt("status", "status")
        locked.chmod(0o000)
        store = f"sqlite:///{locked}/x.db"
        assert "Permission denied" in attempt("hidden", "status", "--store", store)
        locked.chmod(0o500)
        for path in ("x.db", "sub/x.db"):
            store = f"sqlite:///{locked}/{path}"
            assert "locked" in attempt(f"{len(path)}", "run", "n", "--store", store, "--", "true")
    finally:
        scene.database.chmod(0o600)
        locked.chmod(0o700)
    assert scene.ask_json("status", "nightly")["token"] == 2


def test_no_home_for_the_default_store(scene: Scene) -> None:
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become a user that nobody knows")
    env = scene.environment(ELECTOR_STORE="")
    env.pop("HOME", None)
    stranger = ("setpriv", "--reuid=54321")
    version = subprocess.run([*stranger, *ELECTOR, "--version"], env=env, check=False)
    if version.returncode != 0:
        pytest.skip("another user cannot read this installation")
    process = scene.start("status", *stranger, *ELECTOR, "status", env=env)
    assert "no home directory for the default store" in complaint(process, USAGE)


class Disk:
    """A file system of its own, in a mount namespace that ends with its processes."""

    def __init__(self, scene: Scene, size: str) -> None:
        self._scene = scene
        self.path = scene.directory / "disk"
        self.path.mkdir()
        self.store = f"sqlite:///{self.path}/elections.db"
        self._mount = f"mount -t tmpfs -o size={size} tmpfs {self.path}"
        self._namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "-rm"]
        probe = subprocess.run(
            [*self._namespace, "sh", "-c", self._mount], capture_output=True, check=False
        )
        if probe.returncode != 0:
            pytest.skip(f"this system lets nobody mount: {probe.stderr.decode().strip()}")

    def run(self, script: str) -> Process:
        """Run a script that sees the file system; ``$ELECTOR`` is the command."""
        env = self._scene.environment(ELECTOR_STORE=self.store, ELECTOR=" ".join(ELECTOR))
        script = f"set -e; {self._mount}; cd {self.path}; {script}"
        return self._scene.start("script", *self._namespace, "sh", "-c", script, env=env)


FILL = "dd if=/dev/zero of=filling bs=4k 2>/dev/null || true"


def test_a_read_only_file_system(scene: Scene) -> None:
    disk = Disk(scene, "4M")
    script = disk.run(
        "$ELECTOR run nightly -q -- true; mount -o remount,ro .; "
        "for verb in status 'run nightly -- true'; do $ELECTOR $verb || echo $?; done"
    )
    said = script.ended(0)
    assert script.out() == "69\n69\n"
    assert said.count("\n") == 2, said
    assert said.count("read-only") == 2, said


def test_a_disk_that_is_full_at_the_start(scene: Scene) -> None:
    disk = Disk(scene, "4M")
    script = disk.run(
        f"{FILL}; $ELECTOR run nightly -- true || echo $?; rm filling; $ELECTOR run n -q -- echo ok"
    )
    said = script.ended(0)
    assert script.out() == "69\nok\n"
    assert said.count("\n") == 1, said


def test_a_demo_on_a_full_disk(scene: Scene) -> None:
    script = Disk(scene, "4M").run(f"mkdir demo; {FILL}; $ELECTOR demo --keep demo || echo $?")
    said = script.ended(0)
    assert script.out().split() == ["1"]
    assert "cannot keep its ledger: database or disk is full" in said
    assert said.count("\n") == 1, said


def test_a_disk_that_fills_up_while_somebody_leads(scene: Scene) -> None:
    """Whatever can still be written: no token comes back, and with space all goes on."""
    disk = Disk(scene, "4M")
    script = disk.run(
        f"$ELECTOR run nightly --ttl {SHORT} --on-loss exit -- sh -c '{FILL}; sleep 4' || echo $?; "
        "rm filling; $ELECTOR run nightly -q -- sh -c 'echo token $ELECTOR_TOKEN'"
    )
    assert "database or disk is full" in script.ended(0)
    assert script.out() == "76\ntoken 2\n"
