"""Our code with a bug in it: some text of a module replaced, and the module made anew."""

import sys
from pathlib import Path
from types import ModuleType


def mutated(module: ModuleType, old: str, new: str) -> ModuleType:
    """The module with one place changed.

    If the text is not there exactly once, the mutant is of no use, and somebody has to look.
    """
    assert module.__file__ is not None
    source = Path(module.__file__).read_text(encoding="utf-8")
    found = source.count(old)
    assert found == 1, f"found {found} times, so this mutant is of no use: {old!r}"
    changed = ModuleType(f"mutant of {module.__name__}")
    changed.__file__ = module.__file__
    sys.modules[changed.__name__] = changed  # msgspec looks up annotations there
    try:
        exec(source.replace(old, new), changed.__dict__)  # noqa: S102 - our own source
    finally:
        del sys.modules[changed.__name__]
    return changed
