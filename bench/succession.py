"""A line of leaders, each of which is ended in the same way while the next one waits."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from bench.contenders import Contender
from bench.plan import Pause, Plan, progress
from bench.stage import Actor, Stage, Stamp

# Ends a leader; may return another process that was needed for it.
End = Callable[[Stage, Actor], Actor | None]


class Change(NamedTuple):
    """One change of leaders: who went, and the first instruction of whose work came next."""

    stage: Stage
    leader: Actor
    begin: Stamp

    def since(self, what: str) -> float:
        """Milliseconds from a report of the former leader to the beginning of the next work."""
        return (self.begin.at - self.stage.hear(what, self.leader.name).at) / 1e6


def succession(
    stage: Stage, contender: Contender, rounds: int, pause: Pause, end: End
) -> Iterator[Change]:
    """Put a candidate in line, pause, end the leader; again and again."""
    leader = contender.stand(stage, "c0")
    begin = stage.hear("begin", "c0")
    for number in range(1, rounds + 1):
        following = contender.stand(stage, f"c{number}")
        contender.await_place(stage, following.name)
        leader.work = begin.value
        if leader.work:
            stage.notice_exit(leader.name, leader.work)
        pause()
        errand = end(stage, leader)
        begin = stage.hear("begin", following.name, within=contender.patience_s)
        yield Change(stage, leader, begin)
        stage.part(leader)
        if errand is not None:
            stage.part(errand)
        leader = following


def times_since(
    reports: tuple[str, ...], contender: Contender, plan: Plan, rounds: int, label: str, end: End
) -> list[tuple[float, ...]]:
    """For each change of one succession, the milliseconds since each of these reports."""
    with Stage() as stage:
        changes = succession(stage, contender, rounds, plan.pauses(label), end)
        return [
            tuple(change.since(report) for report in reports)
            for change in progress(label, changes, rounds)
        ]
