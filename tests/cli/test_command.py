"""What the command finds: environment, arguments, descriptors; and what becomes of its output."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.scene import ELECTOR, Scene
from tests.runtime.waiting import until

SHOW_ENV = "import json, os; print(json.dumps(dict(os.environ)))"
SHOW_ARGS = "import json, os, sys; print(json.dumps([os.fsencode(a).hex() for a in sys.argv[1:]]))"
SHOW_FILES = """
import json, os
print(json.dumps({fd: os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
                  if os.path.lexists(f"/proc/self/fd/{fd}")}))
"""
SECRETS = ("hunter2", "hunter3")


def python(script: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", "-c", script)


def test_it_learns_who_it_is(scene: Scene) -> None:
    for token in ("1", "2"):
        process = scene.command("web-1", *python(SHOW_ENV), SOMETHING="else")
        process.ended(0)
        env = json.loads(process.out())
        assert env["ELECTOR_ELECTION"] == "nightly"
        assert env["ELECTOR_CANDIDATE"] == "web-1"
        assert env["ELECTOR_TOKEN"] == token
        assert env["ELECTOR_STORE"] == scene.store
        assert env["SOMETHING"] == "else"


@pytest.fixture
def vault(scene: Scene) -> str:
    """The URL, with secrets, of a store that a third party has plugged in."""
    plugin = scene.directory / "plugin"
    info = plugin / "vault-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vault\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[elector.stores]\nvault = vault_store:open_store\n")
    (plugin / "vault_store.py").write_text(
        "from elector.stores import registry\n"
        "async def open_store(url):\n"
        "    assert 'hunter2' in url.rest and 'hunter3' in url.rest\n"
        f"    return await registry.open_store(registry.parse_url({scene.store!r}))\n"
    )
    return "vault://app:hunter2@host/elections?password=hunter3&mode=fast"


@pytest.mark.parametrize("by", ["flag", "variable"])
def test_secrets_stay_with_elector(scene: Scene, vault: str, by: str) -> None:
    paths = os.pathsep.join((scene.environment()["PYTHONPATH"], f"{scene.directory}/plugin"))
    env = scene.environment(PYTHONPATH=paths)
    flag = ("--store", vault) if by == "flag" else ()
    env["ELECTOR_STORE"] = "" if by == "flag" else vault
    script = f"{SHOW_ENV}; import sys, time; sys.stdout.flush(); time.sleep(600)"
    command = ("run", "nightly", "--candidate", "web-1", *flag, "--", *python(script))
    process = scene.start("web-1", *ELECTOR, *command, env=env)
    until(lambda: process.out().endswith("\n"))
    command_env = json.loads(process.out())
    assert command_env["ELECTOR_STORE"] == "vault://app:***@host/elections?password=***&mode=fast"
    guardian = Path(f"/proc/{process.guardian_pid()}")
    found = process.out() + process.err() + (guardian / "environ").read_text()
    found += (guardian / "cmdline").read_text()
    assert not [secret for secret in SECRETS if secret in found]


def test_no_shell_looks_at_its_arguments(scene: Scene) -> None:
    arguments = ["$HOME; echo x", "*", "a  b", "", "--", "-q", "--once", "\n", "ä"]
    process = scene.command("web-1", *python(SHOW_ARGS), *arguments)
    process.ended(0)
    assert json.loads(process.out()) == [os.fsencode(a).hex() for a in arguments]


def test_bytes_that_are_no_text_arrive_as_they_are(scene: Scene) -> None:
    odd = os.fsdecode(b"\xff\xfe")
    script = f"{SHOW_ARGS}; print(os.environb[b'ODD'].hex())"
    process = scene.command("web-1", *python(script), odd, ODD=odd)
    process.ended(0)
    assert process.out().split("\n")[:2] == ['["fffe"]', "fffe"]


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["nightly", "-q", "echo", "-q", "--once"], "-q --once\n"),
        (["-q", "nightly", "--ttl", "30s", "echo", "--ttl=5", "--", "x"], "--ttl=5 -- x\n"),
        (["--ttl=30s", "nightly", "-q", "--", "echo", "--", "-v"], "-- -v\n"),
        (["-q", "--", "nightly", "echo", "-v"], "-v\n"),
    ],
)
def test_options_behind_the_command_are_the_commands(
    scene: Scene, arguments: list[str], shown: str
) -> None:
    done = scene.ask("run", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, shown, "")


def test_it_reads_what_elector_was_given_to_read(scene: Scene) -> None:
    done = subprocess.run(
        [*ELECTOR, "run", "nightly", "--", "cat"],
        input=bytes(range(256)) * 400,
        capture_output=True,
        env=scene.environment(),
        timeout=30,
        check=True,
    )
    assert done.stdout == bytes(range(256)) * 400  # and elector has added nothing


@pytest.mark.parametrize("json_lines", [False, True])
def test_elector_itself_speaks_on_stderr_only(scene: Scene, json_lines: bool) -> None:
    options = ["-vv", "--json"] if json_lines else ["-vv"]
    process = scene.command("web-1", "sh", "-c", "echo data; echo log >&2", options=options)
    process.ended(0)
    assert process.out() == "data\n"
    assert "log\n" in process.err()


def test_what_happens_is_told_as_json(scene: Scene) -> None:
    process = scene.command("web-1", "sh", "-c", "exit 3", options=["--json"])
    process.ended(3)
    leads, ended = map(json.loads, process.err().splitlines())
    assert leads == {
        "event": "leads",
        "election": "nightly",
        "text": "web-1 leads",
        "token": 1,
    }
    text = "the command ended with code 3"
    assert ended == {"event": "ended", "election": "nightly", "text": text, "code": 3}


def test_quiet_says_nothing_of_the_ordinary(scene: Scene) -> None:
    process = scene.command("web-1", "true", options=["-q"])
    assert process.ended(0) == ""


def test_its_only_further_descriptor_is_the_lifeline(scene: Scene) -> None:
    """Above all not the line to the guardian, whose end must be the guardian's end."""
    alone = subprocess.run(python(SHOW_FILES), capture_output=True, text=True, check=True)
    process = scene.command("web-1", *python(SHOW_FILES))
    process.ended(0)
    further = [
        path
        for fd, path in json.loads(process.out()).items()
        if int(fd) > 2 and path not in json.loads(alone.stdout).values()
    ]
    assert [path for path in further if not path.endswith("/fd")] == [
        path for path in further if path.endswith(".alive")
    ]
    assert sum(path.endswith(".alive") for path in further) == 1


def test_missing_standard_streams_do_not_matter(scene: Scene) -> None:
    """Nor does a full disk under the log: it is no reason to end the work."""
    lacks = ["</dev/null", "<&-", ">&-", "2>&-", "<&- >&- 2>&-", "2>/dev/full"]
    script = ("--", "sh", "-c", "sleep 0.1; exit 7")
    processes = [
        scene.start(f"{number}-{option}", *shell, *ELECTOR, "run", f"x{number}", option, *script)
        for number, lack in enumerate(lacks)
        for shell in [("sh", "-c", f'exec "$@" {lack}', "sh")]
        for option in (["--json", "-vv"] if lack.startswith("2>") else ["-v"])
    ]
    for process in processes:
        process.ended(7)


def test_nobody_reading_the_log_does_not_end_the_work(scene: Scene) -> None:
    reader, writer = os.pipe()
    script = "read line; echo done; exit 7"
    command = ("run", "nightly", "--", "sh", "-c", script)
    process = scene.start("a", *ELECTOR, *command, stdin=subprocess.PIPE, stderr=writer)
    os.close(writer)
    assert b"leads" in os.read(reader, 1000)
    os.close(reader)
    assert process.popen.stdin is not None
    process.popen.stdin.close()  # go on
    process.popen.wait()
    assert (process.popen.returncode, process.out()) == (7, "done\n")


def test_a_command_that_cannot_be_executed(scene: Scene) -> None:
    make(scene.directory)
    all_cases = [
        (b"no-such-command", 127, "'no-such-command': there is no such command on the PATH"),
        (b"", 127, "'': there is no such command on the PATH"),
        (b"./not-there", 127, "'./not-there': there is no such file"),
        (b"./plain", 126, "'./plain': it is not executable"),
        (b"/", 126, "'/': it is not executable"),
        (b"./no-format", 126, "'./no-format': Exec format error"),
        (b"./no-interpreter", 127, "'./no-interpreter': No such file or directory"),
        (b"./no-\xff-format", 126, "'./no-\\udcff-format': Exec format error"),
    ]
    for option, cases in (("-q", all_cases), ("--json", all_cases[-1:])):
        processes = [
            scene.start(
                f"{n}{option}", *ELECTOR, "run", f"x{n}", option, "--", os.fsdecode(command)
            )
            for n, (command, _, _) in enumerate(cases)
        ]
        for process, (_, code, why) in zip(processes, cases, strict=True):
            said = process.ended(code).splitlines()[-1]
            assert why in (json.loads(said)["text"] if said[0] == "{" else said)
            assert process.out() == ""


def make(directory: Path) -> None:
    """Files that cannot be executed for one reason or another."""
    (directory / "plain").write_text("#!/bin/sh\n")
    (directory / "no-interpreter").write_text("#!/not/there\n")
    (directory / "no-format").write_bytes(b"\x00\x01")
    Path(os.fsdecode(bytes(directory) + b"/no-\xff-format")).write_bytes(b"\x00\x01")
    for name in ("no-interpreter", "no-format", os.fsdecode(b"no-\xff-format")):
        (directory / name).chmod(0o755)


def test_the_next_one_takes_over_from_a_command_that_cannot_be_executed(scene: Scene) -> None:
    make(scene.directory)
    for _ in range(2):
        broken = scene.ask("run", "nightly", "--", "./no-format")
        assert broken.returncode == 126
    assert scene.reasons() == ["failed", "failed"]
    assert scene.ask("run", "nightly", "-q", "--", "true").returncode == 0
