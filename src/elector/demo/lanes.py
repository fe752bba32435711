"""A picture of who worked when: one lane for each replica, drawn from the witnesses."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from elector.demo.witness import Deed, Line

COLUMNS = 60

State = Literal["absent", "waiting", "working", "frozen", "refused", "killed"]

# What a replica is doing after each of its deeds, until the next.
_AFTER: dict[Deed, State] = {
    "standing": "waiting",
    "begin": "working",
    "writing": "working",
    "paused": "frozen",
    "woke": "working",
    "wrote": "working",
    "refused": "waiting",
    "end": "waiting",
}


def lane(replica: str, lines: Sequence[Line], columns: int = COLUMNS) -> list[State]:
    """What a replica was doing in each column, the columns being the whole time.

    >>> lines = [Line(0, "anna", "standing"), Line(5, "anna", "wrote", 1), Line(9, "bert", "end")]
    >>> lane("anna", lines, columns=4)
    ['waiting', 'waiting', 'killed', 'absent']
    """
    picture: list[State] = ["absent"] * columns
    begin, end = lines[0].at, lines[-1].at

    def paint(state: State, since: int, until: int) -> None:
        first, last = ((at - begin) * columns // (end - begin + 1) for at in (since, until))
        picture[first : last + 1] = [state] * (last + 1 - first)

    for life in _lives([line for line in lines if line.replica == replica]):
        for line, following in pairwise(life):
            paint(_AFTER[line.did], line.at, following.at)
        for line in life:
            if line.did == "refused":
                paint("refused", line.at, line.at)
        if life[-1].did != "left":
            paint("killed", life[-1].at, life[-1].at)
    return picture


def _lives(own: Sequence[Line]) -> list[Sequence[Line]]:
    """A replica that was started anew begins with `standing` again."""
    births = [number for number, line in enumerate(own) if line.did == "standing"]
    return [own[born:end] for born, end in pairwise([*births, len(own)])]
