"""All that can happen to candidates and their store, one step at a time.

Theory
    A situation is a tuple of small numbers: one for each candidate with its messages, one for
    the store, one for the budgets. What a candidate can do depends on its own number alone,
    what a request does on its number and the store's; so nearly everything is computed once and
    then looked up.
"""

from collections.abc import Iterator
from typing import NamedTuple

from elector.core.effects import Acquire, Lead
from elector.core.events import Changed, StoreEvent
from elector.core.memo import Interned
from elector.protocols.lease import DEADLINE, Phase
from elector.verification.lease_local import Local, Sent, aged, is_in, normal, without
from elector.verification.lease_moves import FORGET, FREE, LEADS, Move, Mover
from elector.verification.lease_register import Register, Request, Who
from elector.verification.lease_scope import LeaseScope, MakeCandidate

_OUT, _STANDS, _LEADS = range(3)

World = tuple[int, ...]
"""Each candidate's number, the store's, the account's."""


class Account(NamedTuple):
    """What is left of the budgets, and the newest token that was led with, and by whom."""

    left: tuple[int, ...]
    token: int = 0
    leader: int = -1


class Wrong(NamedTuple):
    """A property that a step violates, and how."""

    property: str
    text: str


class Arrival(NamedTuple):
    """A request that the store can carry out, and what then is."""

    sent: Sent
    reply: StoreEvent
    local: int
    renamed: tuple[int, ...]
    store: int
    news: Changed | None


class Passed(NamedTuple):
    """One thing that happened, for those who tell the story.

    Attributes:
        node: to whom; -1 if to all, or to the store.
        what: a move, an arrival, so many ticks of time, or a store that forgot.
        world: what then is.
        wrong: what is violated by it.
    """

    node: int
    what: Move | Arrival | int | None
    world: World
    wrong: Wrong | None = None


class Space:
    """The situations of a scope under certain clocks.

    Args:
        scope: what is explored.
        clocks: what each clock gains in a tick, ns; the store's is the last.
        build: makes the candidates.
        register: the empty store.
    """

    def __init__(
        self,
        scope: LeaseScope,
        clocks: tuple[int, ...],
        build: MakeCandidate,
        register: Register,
    ) -> None:
        self.scope = scope
        self.clocks = clocks
        self.ttl = scope.timing.ttl_ns
        self.nodes = range(scope.candidates)
        self.movers = [Mover(node, scope, build) for node in self.nodes]
        self.locals = [Interned[Local]() for _ in self.nodes]
        self.stores = Interned[Register]()
        self.accounts = Interned[Account]()
        self.empty = register
        self._moves: list[dict[int, tuple[tuple[Move, int, int], ...]]] = [{} for _ in self.nodes]
        self._arrivals: list[dict[tuple[int, int], tuple[Arrival, ...]]] = [{} for _ in self.nodes]
        self._aged: list[dict[tuple[int, int], int]] = [{} for _ in self.nodes]
        self._due: list[dict[int, bool]] = [{} for _ in self.nodes]
        self._standings: list[dict[tuple[int, int], int]] = [{} for _ in self.nodes]
        self._paid: dict[tuple[int, tuple[int, ...]], int] = {}

    def first(self) -> World:
        """Everyone has just been told to stand."""
        budgets = self.scope.budgets
        left = tuple(getattr(budgets, name) for name in budgets.__struct_fields__)
        begun = [
            self.locals[node].number(mover.first().after) for node, mover in enumerate(self.movers)
        ]
        return (*begun, self.stores.number(self.empty), self.accounts.number(Account(left)))

    def next(self, world: World) -> Iterator[Passed]:
        """All that can happen next, always in the same order."""
        for node in self.nodes:
            yield from self._own(world, node)
            yield from self._arriving(world, node)
        if self.scope.budgets.forgets:
            yield from self._forgetting(world)
        yield from self._time(world)

    # -- candidates ------------------------------------------------------------------------

    def _own(self, world: World, node: int) -> Iterator[Passed]:
        number = world[node]
        moves = self._moves[node].get(number)
        if moves is None:
            moves = self._moves[node][number] = self._computed(node, number)
        for move, after, leads in moves:
            account = world[-1] if move.spent is FREE else self._pay(world[-1], move.spent)
            if account < 0:
                continue
            wrong = None
            if leads:
                wrong = self._judge(world, node, move)
                account = self._note(account, node, leads)
            yield Passed(node, move, (*world[:node], after, *world[node + 1 : -1], account), wrong)

    def _computed(self, node: int, number: int) -> tuple[tuple[Move, int, int], ...]:
        found: dict[tuple[int, tuple[int, ...]], tuple[Move, int, int]] = {}
        for move in self.movers[node].moves(self.locals[node].values[number]):
            after = self.locals[node].number(move.after)
            leads = max((e.token for e in move.done() if isinstance(e, LEADS)), default=0)
            if (after != number or leads) and (after, move.spent) not in found:
                found[after, move.spent] = (move, after, leads)
        return tuple(found.values())

    def _pay(self, account: int, spent: tuple[int, ...]) -> int:
        key = (account, spent)
        known = self._paid.get(key)
        if known is None:
            left, *rest = self.accounts.values[account]
            after = tuple(have - need for have, need in zip(left, spent, strict=True))
            known = -1 if min(after) < 0 else self.accounts.number(Account(after, *rest))
            self._paid[key] = known
        return known

    def _note(self, account: int, node: int, token: int) -> int:
        left, newest, _ = self.accounts.values[account]
        return account if token < newest else self.accounts.number(Account(left, token, node))

    def _judge(self, world: World, node: int, move: Move) -> Wrong | None:
        """Whether a tenure that begins or is prolonged meets another one, on true time."""
        _, newest, leader = self.accounts.values[world[-1]]
        for effect in move.done():
            if not isinstance(effect, LEADS):
                continue
            token, begins = effect.token, isinstance(effect, Lead)
            if begins and token == newest and leader != node:
                return Wrong("TermUnique", f"{leader} and {node} lead under token {token}")
            if begins and token < newest:
                return Wrong("FenceMonotone", f"{node} leads with token {token} after {newest}")
            for other in self.nodes:
                if other == node:
                    continue
                them = self.local(world, other)
                if them.office and effect.deadlines.hard_ns > 0:
                    return Wrong("LeaseDisjoint", f"{node} and {other} are inside their tenures")
                if begins and _works(them):
                    text = f"the work of {other} runs while that of {node} begins"
                    return Wrong("StopBeforeTakeover", text)
        return None

    # -- the store -------------------------------------------------------------------------

    def _arriving(self, world: World, node: int) -> Iterator[Passed]:
        key = (world[node], world[-2])
        arrivals = self._arrivals[node].get(key)
        if arrivals is None:
            arrivals = self._arrivals[node][key] = tuple(self._carried_out(node, *key))
        for arrival in arrivals:
            after = (*world[:node], arrival.local, *world[node + 1 : -2], arrival.store, world[-1])
            if arrival.news is None:
                yield Passed(node, arrival, after)
            else:
                for told in self._announced(after, arrival.news):
                    yield Passed(node, arrival, told)

    def _carried_out(self, node: int, number: int, store: int) -> Iterator[Arrival]:
        local, register = self.locals[node].values[number], self.stores.values[store]
        kind = self.scope.kind
        behind: set[int] = set()
        for sent in local.sent:
            if kind.ordered and sent.instance in behind:
                continue
            behind.add(sent.instance)
            who = (node, sent.instance)
            if self.blocked(register, sent.request, who):
                continue
            after, reply = register.carry_out(sent.request, who, kind, self.ttl)
            rest = local._replace(sent=without(local.sent, sent))
            if sent.instance == local.instance:
                rest = rest._replace(replies=(*local.replies, reply))
            changed = (register.holder, register.token) != (after.holder, after.token)
            news = after.news(kind) if changed and kind.announces else None
            ended, renamed = normal(rest, self.ttl, self.movers[node].back)
            arrived = self.locals[node].number(ended)
            yield Arrival(sent, reply, arrived, renamed, self.stores.number(after), news)

    def blocked(self, register: Register, request: Request, who: Who) -> bool:
        """Whether carrying it out would begin a tenure that is not in the scope."""
        return (
            isinstance(request, Acquire)
            and register.token >= self.scope.tenures
            and register.grants(who)
        )

    def _announced(self, world: World, news: Changed) -> Iterator[World]:
        """News goes out to all who listen; each may miss it."""
        worlds = [world]
        for node in self.nodes:
            more = []
            for each in worlds:
                local = self.locals[node].values[each[node]]
                for spent, told in self.movers[node].notified(local, news):
                    account = each[-1] if spent is FREE else self._pay(each[-1], spent)
                    if account >= 0:
                        after = self.locals[node].number(told)
                        more.append((*each[:node], after, *each[node + 1 : -1], account))
            worlds = more
        return iter(worlds)

    def _forgetting(self, world: World) -> Iterator[Passed]:
        account = self._pay(world[-1], FORGET)
        if account >= 0:
            yield Passed(-1, None, (*world[:-2], self.stores.number(self.empty), account))

    # -- time ------------------------------------------------------------------------------

    def _time(self, world: World) -> Iterator[Passed]:
        """Time goes on, to the next tick or corner, unless something is due."""
        if any(self._is_due(node, world[node]) for node in self.nodes):
            return
        ticks = 1 if self.scope.instants == "grid" else self._to_the_next_corner(world)
        register = self.stores.values[world[-2]]
        after = register.aged(ticks * self.clocks[-1])
        locals_ = [self._older(node, world[node], ticks) for node in self.nodes]
        later = (*locals_, self.stores.number(after), world[-1])
        if later == world:
            return
        if register.holder != after.holder and self.scope.kind.announces:
            for told in self._announced(later, after.news(self.scope.kind)):
                yield Passed(-1, ticks, told)
        else:
            yield Passed(-1, ticks, later)

    def _is_due(self, node: int, number: int) -> bool:
        known = self._due[node].get(number)
        if known is None:
            known = self._due[node][number] = self.locals[node].values[number].due()
        return known

    def _older(self, node: int, number: int, ticks: int) -> int:
        known = self._aged[node].get((number, ticks))
        if known is None:
            by, back = ticks * self.clocks[node], self.movers[node].back
            later = aged(self.locals[node].values[number], by, self.ttl, back)
            known = self._aged[node][number, ticks] = self.locals[node].number(later)
        return known

    def _to_the_next_corner(self, world: World) -> int:
        register = self.stores.values[world[-2]]
        found = [-(-at // self.clocks[-1]) for at in (register.left, register.kept) if at]
        for node in self.nodes:
            corners = self.locals[node].values[world[node]].corners()
            found += [-(-at // self.clocks[node]) for at in corners]
        return min(found, default=1)

    # -- what is hoped for -----------------------------------------------------------------

    def local(self, world: World, node: int) -> Local:
        """A candidate and its messages."""
        return self.locals[node].values[world[node]]

    def left(self, world: World) -> tuple[int, ...]:
        """What is left of the budgets."""
        return self.accounts.values[world[-1]].left

    def led(self, world: World) -> bool:
        """Whether somebody leads, or would but for the scope, or nobody wants to."""
        standings = [self._standing(node, world[node], world[-2]) for node in self.nodes]
        return _LEADS in standings or _STANDS not in standings

    def _standing(self, node: int, number: int, store: int) -> int:
        known = self._standings[node].get((number, store))
        if known is None:
            local, register = self.locals[node].values[number], self.stores.values[store]
            leads = is_in(local.state, Phase.LEADING) and not local.paused
            would = any(
                self.blocked(register, sent.request, (node, sent.instance)) for sent in local.sent
            )
            stands = local.state.contending and not local.state.closing
            known = _LEADS if leads or would else _STANDS if stands else _OUT
            self._standings[node][number, store] = known
        return known


def _works(local: Local) -> bool:
    """Whether work runs that should not, when that of somebody else begins.

    Not if its hard deadline is at this very instant, so that it is being aborted: in which
    order things happen at one instant means nothing on true time.
    """
    state = local.state
    over = is_in(state, Phase.LEADING, Phase.STOPPING) and state.deadlines.hard_ns <= 0
    ends_now = over and any(name == DEADLINE and not late for name, _, late in local.timers)
    return bool(local.work) and not (local.paused or local.overslept or ends_now)
