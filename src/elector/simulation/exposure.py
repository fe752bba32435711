"""What one candidate is exposed to: a `Weather`, ready to be drawn from many times.

>>> from random import Random
>>> calm = Exposure(Weather(), Random(1), ttl_ns=15_000_000_000, timeout_ns=1_500_000_000)
>>> calm.fate() == PROMPT, calm.crashes()
(True, 0)
"""

from random import Random

from elector.simulation.faults import Weather

PROMPT, REFUSED, LOST_REQUEST, LOST_REPLY, LATE_REQUEST, LATE_REPLY, TWICE = range(7)
"""How a request fares."""

LOST_NEWS = -1


class Exposure:
    """Draws of each kind, without arguments, so that a tape can stand in for them.

    Args:
        weather: the probabilities.
        random: where draws come from.
        ttl_ns: the lease duration; what is late is late by up to one or two of them.
        timeout_ns: how long anybody waits for an answer.

    Attributes:
        way: how long a request or a reply takes, ns.
        quiet: no request has any other fate than to arrive.
    """

    def __init__(self, weather: Weather, random: Random, ttl_ns: int, timeout_ns: int) -> None:
        self.weather = weather
        self.way = weather.delay.sampler(random)
        self.low = weather.delay.low_ns
        self._random, self._ttl, self._timeout = random, ttl_ns, timeout_ns
        self._fates: list[tuple[float, int]] = []
        upto = 0.0
        for fate, probability in (
            (REFUSED, weather.refused),
            (LOST_REQUEST, weather.lost_request),
            (LOST_REPLY, weather.lost_reply),
            (LATE_REQUEST, weather.late_request),
            (LATE_REPLY, weather.late_reply),
            (TWICE, weather.repeated),
        ):
            if probability:
                upto += probability
                self._fates.append((upto, fate))
        self.quiet = not self._fates
        self.hushed = bool(weather.blind or weather.late_news)
        self.untimely = bool(weather.late_ns or weather.early_ns)

    def fate(self) -> int:
        """How a request fares."""
        drawn = self._random.random()
        for upto, fate in self._fates:
            if drawn < upto:
                return fate
        return PROMPT

    def lateness(self) -> int:
        """How late it is if it is later than anybody waits, ns."""
        return self._timeout + self._random.randint(0, 2 * self._ttl)

    def news(self) -> int:
        """How late an announcement is, ns, or `LOST_NEWS`."""
        drawn = self._random.random() - self.weather.blind
        if drawn < 0:
            return LOST_NEWS
        return self._random.randint(0, self._ttl) if drawn < self.weather.late_news else 0

    def again(self) -> int:
        """Whether an announcement comes once more."""
        return int(self._random.random() < self.weather.repeated)

    def error(self) -> int:
        """By how much a timer is late, or early if negative; half of them are in time."""
        drawn = self._random.random()
        if drawn < 1 / 4:
            return -self._random.randint(0, self.weather.early_ns)
        return 0 if drawn < 3 / 4 else self._random.randint(0, self.weather.late_ns)

    def crashes(self) -> int:
        """Whether the process is killed before its next effect."""
        return int(self._random.random() < self.weather.crash)

    def down(self) -> int:
        """How long a killed process is down, ns."""
        return self._random.randint(*self.weather.down)

    def stubborn(self) -> int:
        """Whether work does not stop when it is told to."""
        return int(self._random.random() < self.weather.stubborn)

    def stop(self) -> int:
        """How long work takes to stop, ns."""
        return self._random.randint(*self.weather.stop)

    def work(self) -> int:
        """How long work goes on by itself, ns."""
        return self._random.randint(*self.weather.work)

    def fails(self) -> int:
        """Whether work that returned by itself has failed."""
        return int(self._random.random() < self.weather.failing)
