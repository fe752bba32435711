"""What can go wrong: each fault breaks something, waits, and mends it.

A fault is **brief** (shorter than the budget of the timing: it must not cost a leader its office),
**long** (longer than the lease) or a **blow** that is over at once.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Literal

import msgspec

from elector.core.duration import SECOND_NS
from elector.core.timing import LeaseTiming
from tests.faults.company import NAMES, Company
from tests.faults.evidence import Evidence
from tests.faults.sites import Restartable, Server, Site
from tests.faults.waiting import until
from tests.servers.proxy import Proxy, Way

Length = Literal["blow", "brief", "long"]
Needs = Literal["candidates", "network", "server", "cluster"]
_WAYS: tuple[tuple[Way, ...], ...] = (("up",), ("down",), ("up", "down"))


class Scene(msgspec.Struct, frozen=True):
    """What a fault has at hand in one cycle.

    Attributes:
        site: the store.
        company: the candidates.
        evidence: what they have noted.
        timing: their timing.
        chance: draws what is left open.
        length: how long the fault is to last.
        leader: who leads now.
        brief: how long a brief fault is, at least and at most, as parts of the budget.
    """

    site: Site
    company: Company
    evidence: Evidence
    timing: LeaseTiming
    chance: Random
    length: Length
    leader: str
    brief: tuple[float, float]

    @property
    def follower(self) -> str:
        """Somebody who waits."""
        return self.chance.choice([name for name in NAMES if name != self.leader])

    @property
    def seconds(self) -> float:
        """For how long, drawn anew each time."""
        if self.length == "brief":
            return self.chance.uniform(*self.brief) * self.timing.outage_budget_ns() / SECOND_NS
        return self.timing.ttl_ns / SECOND_NS + self.chance.uniform(0.2, 1.0)

    def wires(self) -> Sequence[Proxy]:
        """The proxies of the leader alone, or of everybody."""
        whose = self.chance.choice([[self.leader], NAMES])
        return [proxy for name in whose for proxy in self.site.wires[name]]


Act = Callable[[Scene], None]


class Fault(msgspec.Struct, frozen=True):
    """One entry of the catalogue.

    Attributes:
        name: in words.
        needs: what there must be for it to happen to.
        lengths: how long it can last.
        act: breaks, waits and mends.
        costs: what the leader may lose to it: its office in any case, or only if the fault was
            longer than the budget, or perhaps, or nothing.
    """

    name: str
    needs: Needs
    lengths: tuple[Length, ...]
    act: Act
    costs: Literal["office", "if long", "perhaps", "nothing"] = "if long"


# -- candidates ------------------------------------------------------------------------------------


def _leader_killed(scene: Scene) -> None:
    scene.company.kill(scene.leader)


def _follower_killed(scene: Scene) -> None:
    scene.company.kill(scene.follower)


def _leader_leaves(scene: Scene) -> None:
    scene.company.shut_down(scene.leader)


@contextlib.contextmanager
def _frozen(scene: Scene, name: str, order: str) -> Iterator[None]:
    """Stopped for the drawn time, and for the block; then it goes on."""
    seconds = scene.seconds
    scene.company.tell(name, order)
    until(lambda: scene.company.is_stopped(name), f"{name} stopping")
    try:
        time.sleep(seconds)
        yield
    finally:
        scene.company.thaw(name)


def _leader_paused(scene: Scene) -> None:
    with _frozen(scene, scene.leader, "freeze"):
        pass


def _follower_paused(scene: Scene) -> None:
    with _frozen(scene, scene.follower, "freeze"):
        pass


def _leader_paused_writing(scene: Scene) -> None:
    """Between its check and its write; if for long, then until its successor has written."""
    pid = scene.company.pid(scene.leader)
    with _frozen(scene, scene.leader, "freeze-writing"):
        said = scene.evidence.said(pid)
        stopped = next(line for line in reversed(said) if line.did == "paused")
        if scene.length == "long":
            until(lambda: _last_token(scene) > stopped.token, "a successor of the paused leader")

    def tried() -> bool:
        return any(
            (line.token, line.entry) == (stopped.token, stopped.entry)
            and line.did in {"wrote", "refused"}
            for line in scene.evidence.said(pid)
        )

    until(tried, f"the write that {scene.leader} woke up to")


def _last_token(scene: Scene) -> int:
    last = scene.evidence.last_entry()
    return 0 if last is None else last.token


def _leader_blocked(scene: Scene) -> None:
    seconds = scene.seconds
    scene.company.tell(scene.leader, f"block {seconds}")
    time.sleep(seconds)


# -- the network -----------------------------------------------------------------------------------


Harm = Callable[[Proxy], None]


def _network(draw: Callable[[Scene], Harm]) -> Act:
    return lambda scene: _harm(scene, draw(scene), scene.wires())


def _election(harm: Harm) -> Act:
    """The leader dies, and whoever wants to succeed it has a network in this state."""

    def act(scene: Scene) -> None:
        scene.company.kill(scene.leader)
        _harm(scene, harm, [wire for wires in scene.site.wires.values() for wire in wires])

    return act


def _harm(scene: Scene, harm: Harm, wires: Sequence[Proxy]) -> None:
    with _healed(wires):
        for wire in wires:
            harm(wire)
        if scene.length != "blow":
            time.sleep(scene.seconds)


@contextlib.contextmanager
def _healed(wires: Sequence[Proxy]) -> Iterator[None]:
    try:
        yield
    finally:
        for wire in wires:
            wire.heal()


def _requests_cut(wire: Proxy) -> None:
    wire.cut("up")


def _replies_cut(wire: Proxy) -> None:
    wire.cut("down")


def _replies_lost(wire: Proxy) -> None:
    wire.lose("down")


def _refuse(wire: Proxy) -> None:
    wire.refuse()
    wire.reset()


def _slow(delay: float, ways: Sequence[Way]) -> Harm:
    def slow(wire: Proxy) -> None:
        for way in ways:
            wire.slow(way, delay / len(ways))

    return slow


def _slow_by_seconds(scene: Scene) -> Harm:
    return _slow(scene.chance.uniform(1.0, 4.0), scene.chance.choice(_WAYS))


def _sluggish(scene: Scene) -> None:
    """A quarter of what a request may take, for as long as a lease."""
    delay = scene.timing.request_timeout_ns / SECOND_NS / 4
    slow, wires = _slow(delay, scene.chance.choice(_WAYS)), scene.wires()
    with _healed(wires):
        for wire in wires:
            slow(wire)
        time.sleep(scene.timing.ttl_ns / SECOND_NS)


# -- the server ------------------------------------------------------------------------------------


def _server(scene: Scene) -> Server:
    if scene.site.process is not None:
        return scene.site.process
    assert scene.site.cluster is not None
    return scene.site.cluster.leader()


def _server_killed(scene: Scene) -> None:
    server = _server(scene)
    server.kill()
    try:
        if scene.length == "long":
            time.sleep(scene.seconds)
    finally:
        server.start()


def _server_paused(scene: Scene) -> None:
    server = _server(scene)
    server.pause()
    try:
        time.sleep(scene.seconds)
    finally:
        server.resume()


def _server_restarted(scene: Scene) -> None:
    server = _server(scene)
    if isinstance(server, Restartable):
        server.restart()
    else:
        server.stop()
        server.start()


_BOTH: tuple[Length, ...] = ("brief", "long")

CATALOGUE = (
    Fault("leader killed", "candidates", ("blow",), _leader_killed, costs="office"),
    Fault("leader told to leave", "candidates", ("blow",), _leader_leaves, costs="office"),
    Fault("leader paused", "candidates", _BOTH, _leader_paused),
    Fault("leader paused writing", "candidates", _BOTH, _leader_paused_writing),
    Fault("event loop blocked", "candidates", _BOTH, _leader_blocked),
    Fault("follower killed", "candidates", ("blow",), _follower_killed, costs="nothing"),
    Fault("follower paused", "candidates", ("long",), _follower_paused, costs="nothing"),
    Fault("connections reset", "network", ("blow",), _network(lambda _: Proxy.reset)),
    Fault("connections refused", "network", _BOTH, _network(lambda _: _refuse)),
    Fault("accepted, no answer", "network", _BOTH, _network(lambda _: Proxy.mute)),
    Fault("requests cut", "network", _BOTH, _network(lambda _: _requests_cut)),
    Fault("replies cut", "network", _BOTH, _network(lambda _: _replies_cut)),
    Fault("replies lost", "network", _BOTH, _network(lambda _: _replies_lost)),
    Fault("slow by seconds", "network", _BOTH, _network(_slow_by_seconds)),
    Fault("slow, yet in time", "network", ("blow",), _sluggish, costs="nothing"),
    Fault("election, requests cut", "network", ("long",), _election(_requests_cut), costs="office"),
    Fault("election, replies lost", "network", ("long",), _election(_replies_lost), costs="office"),
    Fault("server paused", "server", _BOTH, _server_paused),
    Fault("server killed, restarted", "server", _BOTH, _server_killed),
    Fault("server restarted", "server", ("brief",), _server_restarted),
    # The others need about as long as the budget to find another leader.
    Fault("its leader paused", "cluster", _BOTH, _server_paused, costs="perhaps"),
    Fault("its leader killed", "cluster", _BOTH, _server_killed, costs="perhaps"),
)


def possible(site: Site) -> list[tuple[Fault, Length]]:
    """What can happen at this site."""
    there = {
        "candidates": True,
        "network": bool(site.wires),
        "server": site.process is not None,
        "cluster": site.cluster is not None,
    }
    return [
        (fault, length) for fault in CATALOGUE if there[fault.needs] for length in fault.lengths
    ]
