"""Nodes are interchangeable, if they are: states that differ only in who is who are one.

Theory
    A renaming of nodes is a symmetry if every core of every node has an image at the node's
    new name, so that images of moves are moves of images. Messages name nobody, so the image
    of a message is the same message between the images of its ends; and a step has only one
    outcome, so the images of cores follow from those of the first ones, move by move. The
    attempt to assign them is the proof, and where it fails, the renaming is no symmetry: with
    priorities, or with code that treats one number unlike another. Nothing is declared here
    either.

    A crash falls between two messages to peers that are told in the order of their numbers;
    so with crashes, renamed nodes are not the same, and nothing is merged.

    To find the one state that stands for all renamed ones, each node's part of a state (core,
    terms led, inbox) is given a class, which no renaming changes. Nodes are sorted by class;
    only those of one class have to be tried in every order.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise, permutations
from typing import TYPE_CHECKING, Any

from elector.core.peers import Transfer
from elector.verification.cores import Move, Node

if TYPE_CHECKING:
    from elector.verification.space import Space

Renaming = tuple[int, ...]
"""The new number of each node."""

_Images = list[dict[int, int]]
"""For each node, its cores and their images at the node's new number."""


class Symmetry:
    """Finds the state that stands for all that are the same but for names.

    Raises:
        ValueError: some renaming is no symmetry.
    """

    def __init__(self, space: "Space") -> None:
        count = space.scope.nodes
        self.space = space
        self.renamings = list(permutations(range(count)))
        self.masks = [space.part(node) for node in range(count)]
        images = _images_of_all(space)
        self._parts = {
            renaming: [
                _Part(
                    space,
                    node,
                    renaming[node],
                    images[renaming][node],
                    _messages(space, node, renaming),
                )
                for node in range(count)
            ]
            for renaming in self.renamings
        }
        self._classes = [
            _Class([images[node] for images in self._parts.values()]) for node in range(count)
        ]
        self._ways: dict[tuple[int, ...], list[list[_Part]]] = {}
        for renaming in self.renamings:
            self._ways[renaming] = [self._parts[renaming]]
        self._rest = ~sum(self.masks)

    def canonical(self, state: int) -> int:
        """The state that stands for this one."""
        parts = [state & mask for mask in self.masks]
        classes = [known[part] for known, part in zip(self._classes, parts, strict=True)]
        ranks = tuple(map(sorted(classes).index, classes))
        ways = self._ways.get(ranks)
        if ways is None:
            ways = self._ways[ranks] = [
                self._parts[renaming] for renaming in self.renamings if _sorts(renaming, ranks)
            ]
        images = [
            sum([image[part] for image, part in zip(way, parts, strict=True)]) for way in ways
        ]
        return min(images) + (state & self._rest)


def _sorts(renaming: Renaming, ranks: Sequence[int]) -> bool:
    """Whether nodes come in the order of their ranks."""
    order = sorted(range(len(ranks)), key=renaming.__getitem__)
    return all(ranks[a] <= ranks[b] for a, b in pairwise(order))


class _Part(dict[int, int]):
    """From the part of a state that belongs to a node, to its image."""

    __slots__ = ("_cores", "_messages", "_new", "_old", "_space")

    def __init__(
        self, space: "Space", old: int, new: int, cores: dict[int, int], messages: list[int]
    ) -> None:
        super().__init__()
        self._space = space
        self._old = old
        self._new = new
        self._cores = cores
        self._messages = messages

    def __missing__(self, part: int) -> int:
        space, old, new = self._space, self._old, self._new
        image = self._cores[space.core(old, part)] << space.core_shift[new]
        image |= space.led_by(old, part) << space.led_shift(new)
        image |= _renamed(space.inbox(old, part), self._messages) << space.inbox_shift[new]
        self[part] = image
        return image


class _Class(dict[int, int]):
    """From a node's part of a state to a number that no renaming changes."""

    __slots__ = ("_images",)

    def __init__(self, images: "list[_Part]") -> None:
        super().__init__()
        self._images = images

    def __missing__(self, part: int) -> int:
        least = self[part] = min([image[part] for image in self._images])
        return least


def _messages(space: "Space", node: int, renaming: Renaming) -> list[int]:
    """For each message to a node, the bit of the same between the images of its ends."""
    return [
        space.words.known_bit(renaming[node], renaming[arrival.source], arrival.message)
        for arrival in space.words.arrivals[node]
    ]


def _renamed(inbox: int, messages: list[int]) -> int:
    image = 0
    while inbox:
        first = inbox & -inbox
        image |= messages[first.bit_length() - 1]
        inbox ^= first
    return image


def _images_of_all(space: "Space") -> dict[Renaming, _Images]:
    """The images under every renaming: those that swap two neighbours make up all others."""
    same = tuple(range(space.scope.nodes))
    swaps = [
        (*same[:node], node + 1, node, *same[node + 2 :]) for node in range(space.scope.nodes - 1)
    ]
    swapped = {swap: _images(space, swap) for swap in swaps}
    found: dict[Renaming, _Images] = {same: _images(space, same)}
    todo = [same]
    while todo:
        first = todo.pop()
        for swap, images in swapped.items():
            both = tuple(swap[node] for node in first)
            if both not in found:
                found[both] = [
                    {core: images[first[node]][image] for core, image in known.items()}
                    for node, known in enumerate(found[first])
                ]
                todo.append(both)
    return found


def _images(space: "Space", renaming: Renaming) -> _Images:
    """The images of all cores that can occur."""
    images: _Images = [{} for _ in renaming]
    todo: list[tuple[int, int]] = []

    def assign(node: int, core: int, image: int) -> None:
        core, image = space.plain_core(node, core), space.plain_core(renaming[node], image)
        if images[node].setdefault(core, image) != image:
            raise ValueError("two different cores would be the image of one")
        todo.append((node, core))

    for node, new in enumerate(renaming):
        assign(node, space.first[node], space.first[new])
    messages = [_messages(space, node, renaming) for node in range(len(renaming))]
    done: set[tuple[int, int]] = set()
    while todo:
        node, core = todo.pop()
        if (node, core) in done:
            continue
        done.add((node, core))
        old, twins = space.nodes[node], space.nodes[renaming[node]]
        for move, twin in _paired(old, core, twins, images[node][core], renaming, messages[node]):
            sends = {(renaming[to], _renamed(bits, messages[to])) for to, bits in move.sends}
            if (sends, move.leads, move.law) != (set(twin.sends), twin.leads, twin.law):
                raise ValueError(f"node {twins.number} does not do what node {node} does: {twin}")
            assign(node, move.after, twin.after)
    for known in images:
        if len(set(known.values())) != len(known):
            raise ValueError("one core would be the image of two")
    return images


def _paired(
    old: Node, core: int, new: Node, image: int, renaming: Renaming, messages: list[int]
) -> Iterator[tuple[Move, Move]]:
    """The moves of a core, each with the one that should be its image."""
    yield from _matched(old.own(core), new.own(image), renaming)
    for number, bit in enumerate(messages):
        theirs = new.received(image, bit.bit_length() - 1)
        yield from _matched(old.received(core, number), theirs, None)


def _matched(
    ours: Sequence[Move], theirs: Sequence[Move], renaming: Renaming | None
) -> Iterator[tuple[Move, Move]]:
    by_event = {(_event(move.event, None), move.kept): move for move in theirs}
    if len(ours) != len(theirs):
        raise ValueError("one node can do more than the other")
    for move in ours:
        twin = by_event.get((_event(move.event, renaming), move.kept))
        if twin is None:
            raise ValueError("one node can do what the other cannot")
        yield move, twin


def _event(event: Any, renaming: Renaming | None) -> Any:
    """By what two events of one kind are told apart; what arrives, the caller knows."""
    if isinstance(event, Transfer):
        return ("transfer", event.target if renaming is None else renaming[event.target])
    return getattr(event, "name", None)
