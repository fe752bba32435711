"""The public API as text: Elector, its guards, its conformance kit; sorted, with signatures.

::

    python tools/api_snapshot.py            print it
    python tools/api_snapshot.py --write    accept it: rewrite tests/api/public.txt

A test compares the two, so that no name, parameter or type changes by accident.
"""

import argparse
import enum
import importlib
import inspect
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SNAPSHOT = Path(__file__).parent.parent / "tests" / "api" / "public.txt"
ROOMS = (
    *("elector", "elector.fencing", "elector.testing.stores"),
    *(
        f"elector.fencing.{guard}"
        for guard in ("etcd", "http", "objects", "postgresql", "redis", "sqlalchemy")
    ),
)

# A type is public by its name; where it is defined is our business.
_HOME = re.compile(
    r"\b(?:elector|typing|collections\.abc|contextlib|pathlib|types)(?:\.[a-z_]\w*)*\."
)
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
# Of the magic methods, those by which an object is used in a statement.
_STATEMENTS = frozenset(
    f"__{name}__"
    for name in "enter exit aenter aexit iter next aiter anext call".split()  # noqa: SIM905 - reads better
)


def snapshot() -> str:
    """The whole public API, one line a name or member."""
    return "".join(f"{line}\n" for room in ROOMS for line in _room(room))


def _room(room: str) -> Iterator[str]:
    module = importlib.import_module(room)
    for name in sorted(module.__all__):
        yield from _export(f"{room}.{name}", getattr(module, name))


def _export(path: str, value: object) -> Iterator[str]:
    if inspect.isclass(value):
        yield from _class(path, value)
    elif inspect.isroutine(value):
        yield f"{_def(value)} {path}{_signature(value)}"
    elif isinstance(value, types.ModuleType):
        yield f"module {path}"
    elif isinstance(value, str | int):
        yield f"{path}: {type(value).__name__}"  # a version or a limit may change its value
    else:
        yield f"{path} = {_tidy(str(value))}"


def _class(path: str, cls: type) -> Iterator[str]:
    bases = ", ".join(base.__name__ for base in cls.__bases__ if base is not object)
    yield f"class {path}{f'({bases})' if bases else ''}"
    if issubclass(cls, enum.Enum):
        yield from (f"    {member.name} = {member.value!r}" for member in cls)
    else:
        yield f"    {_signature(cls)}"
    members = {**_annotated(cls), **_defined(cls)}
    yield from (f"    {members[name]}" for name in sorted(members))


def _ours(cls: type) -> list[type]:
    """The classes of the resolution order that we define, most basic first."""
    return [base for base in reversed(cls.__mro__) if base.__module__.startswith("elector")]


def _annotated(cls: type) -> dict[str, str]:
    notes = {name: note for base in _ours(cls) for name, note in _notes(base).items()}
    return {
        name: f"{name}: {_tidy(inspect.formatannotation(note))}"
        for name, note in notes.items()
        if not name.startswith("_")
    }


def _notes(cls: type) -> dict[str, Any]:
    return inspect.get_annotations(cls)


def _defined(cls: type) -> dict[str, str]:
    values = {name: value for base in _ours(cls) for name, value in vars(base).items()}
    lines = {
        name: _member(name, value)
        for name, value in values.items()
        if name in _STATEMENTS or not name.startswith("_")
    }
    return {name: line for name, line in lines.items() if line}


def _member(name: str, value: object) -> str:
    """One line for a method or property; nothing for a field, which its annotation tells."""
    if isinstance(value, property):
        returned = inspect.signature(value.fget).return_annotation if value.fget else object
        return f"{name}: {_tidy(inspect.formatannotation(returned))}  (property)"
    if isinstance(value, classmethod | staticmethod):
        return f"@{type(value).__name__} {_def(value.__func__)} {name}{_signature(value.__func__)}"
    if inspect.isfunction(value):
        return f"{_def(value)} {name}{_signature(value)}"
    return ""


def _def(function: object) -> str:
    return "async def" if inspect.iscoroutinefunction(function) else "def"


def _signature(of: Any) -> str:
    try:
        return _tidy(str(inspect.signature(of)))
    except ValueError:
        return "(...)"


def _tidy(text: str) -> str:
    return _HOME.sub("", _ADDRESS.sub("", text))


def main() -> None:
    """Print the snapshot, or accept it."""
    parser = argparse.ArgumentParser(description="the public API as text")
    parser.add_argument("--write", action="store_true", help=f"rewrite {SNAPSHOT.name}")
    if parser.parse_args().write:
        SNAPSHOT.write_text(snapshot())
    else:
        print(snapshot(), end="")


if __name__ == "__main__":
    main()
