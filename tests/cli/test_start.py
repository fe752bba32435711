"""Before anything is elected: help, completion, the ways to start it, what is imported."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.scene import ELECTOR, SOURCES, Scene

VERBS = ("run", "status", "watch", "resign", "transfer", "history", "demo", "completion")


def test_the_module_and_the_script_are_one_command(scene: Scene) -> None:
    script = Path(sys.executable).with_name("elector")
    if not script.exists():
        pytest.skip("the package is not installed beside this interpreter")
    by_module = scene.ask("--help")
    by_script = subprocess.run(
        [script, "--help"], capture_output=True, text=True, env=scene.environment(), check=True
    )
    assert by_module.returncode == 0
    assert by_module.stdout == by_script.stdout
    assert by_module.stdout.startswith("Usage: elector ")
    assert scene.ask("--version").stdout.startswith("elector ")


def test_help_of_every_verb_has_an_example(scene: Scene) -> None:
    processes = {verb: scene.start(verb, *ELECTOR, verb, "--help") for verb in VERBS}
    overview = scene.ask("-h").stdout
    for verb, process in processes.items():
        process.ended(0)
        assert re.search(rf'\n +(eval "\$\()?elector {verb} ?', process.out()), verb
        assert re.search(rf"^  {verb} +\S", overview, re.MULTILINE)
        assert all(len(line) <= 100 for line in process.out().splitlines())


def test_without_a_verb_it_explains_itself(scene: Scene) -> None:
    done = scene.ask()
    assert done.returncode == 2
    assert "elector run nightly -- python job.py" in done.stdout


def test_completion_in_bash(scene: Scene) -> None:
    cases = {
        "elector st": ["status"],
        "elector res": ["resign"],
        "elector run --on-loss ": ["exit", "campaign"],
        "elector run --dra": ["--drain-limit"],
        "elector completion z": ["zsh"],
    }
    elector = scene.directory / "elector"
    elector.write_text(f'#!/bin/sh\nexec {" ".join(ELECTOR)} "$@"\n')
    elector.chmod(0o755)
    complete = (
        "read -ra COMP_WORDS <<<$words; [[ $words == *' ' ]] && COMP_WORDS+=(''); "
        "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=(); "
        "$completer elector; echo ${COMPREPLY[@]}; "
    )
    script = (
        'eval "$(elector completion bash)"; '
        "completer=$(complete -p elector | grep -o '_[a-z_]*'); "
        + "".join(f"words={words!r}; {complete}" for words in cases)
    )
    path = f"{scene.directory}{os.pathsep}{os.environ['PATH']}"
    process = scene.start("bash", "bash", "-c", script, env=scene.environment(PATH=path))
    assert process.ended(0) == ""
    assert [line.split() for line in process.out().splitlines()] == list(cases.values())


@pytest.mark.parametrize(
    ("shell", "begins"), [("zsh", "#compdef elector"), ("fish", "function _elector_completion")]
)
def test_completion_elsewhere(scene: Scene, shell: str, begins: str) -> None:
    script = scene.ask("completion", shell)
    assert (script.returncode, script.stderr) == (0, "")
    assert script.stdout.startswith(begins)
    asked = {
        "_ELECTOR_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": "elector st",
        "COMP_CWORD": "1",
    }
    offered = scene.ask(**{**asked, "COMP_CWORD": "st" if shell == "fish" else "1"})
    assert "status" in offered.stdout


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    """Seen from inside; `make bench` measures what it is good for."""
    script = "import elector.cli.main, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": SOURCES},
        check=True,
    ).stdout.split()
    assert not {"asyncio", "sqlite3", "logging", "ssl", "socket"} & set(loaded)
    ours = {name for name in loaded if name.startswith("elector.")}
    rooms = ("elector.stores", "elector.runtime", "elector.protocols", "elector.demo")
    assert not [name for name in ours if name.startswith(rooms)]
