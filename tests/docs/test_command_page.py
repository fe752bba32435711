"""docs/cli.md names every verb, flag, variable, key and exit code, and no flag that is gone."""

import re
from pathlib import Path

import click
import pytest

from elector.cli.main import elector
from elector.core.office import EndReason
from elector.demo import report
from elector.stores.port import PastTenure, Record

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
CONTEXT = click.Context(elector)
VERBS = elector.list_commands(CONTEXT)


def section(verb: str) -> str:
    found = re.search(rf"^## {verb}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"there is no section about {verb}"
    return found[1]


def options(verb: str) -> list[click.Option]:
    command = elector.get_command(CONTEXT, verb)
    assert command is not None
    return [parameter for parameter in command.params if isinstance(parameter, click.Option)]


@pytest.mark.parametrize("verb", VERBS)
def test_every_flag_has_its_place(verb: str) -> None:
    text = section(verb) if verb != "transfer" else section("resign") + section("transfer")
    known = {flag for option in options(verb) for flag in [*option.opts, *option.secondary_opts]}
    assert not [flag for flag in known if not re.search(rf"`{flag}[` ]", text)]
    written = set(re.findall(r"`(--?[a-z][a-z-]*)[` ]", section(verb)))
    assert written <= known | {"--once", "--drain-limit"}, "flags that do not exist"


def test_every_variable_is_named() -> None:
    for verb in VERBS:
        for option in options(verb):
            assert option.envvar is None or f"| `{option.envvar}` | `{option.opts[-1]}` |" in PAGE


@pytest.mark.parametrize(
    ("verb", "keys"),
    [
        ("status", Record.__struct_fields__),
        ("history", PastTenure.__struct_fields__),
        ("history", tuple(EndReason)),
        ("demo", report.Report.__struct_fields__),
        ("demo", report.Takeover.__struct_fields__),
    ],
)
def test_every_key_is_named(verb: str, keys: tuple[str, ...]) -> None:
    assert not [key for key in keys if f"`{key}`" not in section(verb)]


def test_exit_codes_are_those_of_the_code() -> None:
    from elector.cli import handover, main, run
    from elector.runtime import supervisor, watchdog

    codes = {
        main.EXIT_USAGE,
        main.EXIT_STORE_UNAVAILABLE,
        handover.EXIT_NOT_IN_TIME,
        run.EXIT_CANNOT_EXECUTE,
        run.EXIT_NOT_FOUND,
        supervisor.EXIT_NOT_ELECTED,
        supervisor.EXIT_LEADERSHIP_LOST,
        watchdog.EXIT_LEADERSHIP_LOST,
    }
    table = section("Exit codes")
    assert codes == {2, 69, 75, 76, 126, 127}
    assert not [
        code for code in codes if not re.search(rf"^\|[^|]*\b{code}\b", table, re.MULTILINE)
    ]
