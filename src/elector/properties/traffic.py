"""How much is said: links that carry traffic, and candidates that wake up for one vacancy."""

from elector.core.duration import SECOND_NS
from elector.properties.verdict import Property
from elector.trace import records
from elector.trace.records import Record


class CommunicationEfficient(Property):
    """In the end at most n-1 links carry election traffic: those of the leader.

    Source: Aguilera, Delporte-Gallet, Fauconnier, Toueg, "Stable leader election" (DISC 2001).
    A link is counted once, whatever passes on it in either direction. The end begins when the
    time that `Calm` gives for finding a leader is over.

    Args:
        nodes: how many there are.
    """

    name = "CommunicationEfficient"
    text = "in the end at most n-1 links carry election traffic"
    kind = "eventually"
    reads = frozenset({records.Calm, records.Send})

    def __init__(self, nodes: int) -> None:
        super().__init__()
        self._nodes = nodes
        self._settled: int | None = None
        self._links: set[frozenset[int]] = set()

    def watch(self, record: Record) -> str | None:
        """See `Property.watch`."""
        match record:
            case records.Calm(t, within):
                self._settled = t + within
            case records.Send(t, node, to) if self._settled is not None and t >= self._settled:
                self.exercised += 1
                self._links.add(frozenset({node, to}))
                if len(self._links) > self._nodes - 1:
                    return f"{len(self._links)} links carry traffic among {self._nodes} nodes"
            case _:
                pass
        return None


class NoHerd(Property):
    """When an office becomes vacant, one candidate asks for it, not all of them.

    Counted are the candidates that send an acquisition soon after a release or an expiry that
    the store carried out. Where candidates poll, several may do so by chance: it is judged
    where it is asked for by name.

    Args:
        window_ns: how long after the vacancy an acquisition counts as woken by it.
    """

    name = "NoHerd"
    text = "one candidate wakes up for a vacancy, not all"
    reads = frozenset({records.Apply, records.Expire, records.Request})

    def __init__(self, window_ns: int = SECOND_NS) -> None:
        super().__init__()
        self._window = window_ns
        self._vacant_at: int | None = None
        self._asking: set[int] = set()

    def watch(self, record: Record) -> str | None:
        """See `Property.watch`."""
        match record:
            case records.Apply(t, _, _, _, "released") | records.Expire(t):
                self._vacant_at = t
                self._asking = set()
            case records.Request(t, node, _, "acquire") if self._vacant_at is not None:
                if t - self._vacant_at > self._window:
                    return None
                self.exercised += 1
                self._asking.add(node)
                if len(self._asking) > 1:
                    return f"{len(self._asking)} candidates asked for one vacancy"
            case _:
                pass
        return None
