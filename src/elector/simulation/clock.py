"""A node's clock in a simulated world: an offset, a rate that drifts, steps and freezes.

>>> clock = Clock(offset=100, ppm=10_000)
>>> clock.shows(1_000_000), clock.true(1_010_100)
(1010100, 1000000)
"""

_MILLION = 1_000_000


class Clock:
    """Shows `offset` at true time 0 and gains `ppm` millionths of true time; both may change.

    Between two changes it is a straight line, so what it will show can be computed ahead.
    """

    __slots__ = ("_shown", "_since", "ppm", "rate")

    def __init__(self, offset: int = 0, ppm: int = 0) -> None:
        self._since = 0
        self._shown = offset
        self.ppm = ppm
        self.rate = _MILLION + ppm

    def shows(self, true: int) -> int:
        """What it shows at a true time not before its last change, ns."""
        return self._shown + (true - self._since) * self.rate // _MILLION

    def true(self, shown: int) -> int:
        """The first true time at which it shows this, if nothing changes, ns.

        A frozen clock never will: then the answer is further away than any run is long.
        """
        if self.rate == 0:
            return _NEVER
        return self._since - (self._shown - shown) * _MILLION // self.rate

    def lasts(self, duration: int) -> int:
        """How much true time passes while it counts a duration, rounded up, ns."""
        if self.rate == _MILLION:
            return duration
        if self.rate == 0:
            return _NEVER
        return -(-duration * _MILLION // self.rate)

    def change(self, now: int, *, ppm: int | None = None, step: int = 0) -> None:
        """From true time `now` on go at another rate, or jump; -1,000,000 ppm is a freeze."""
        self._shown = self.shows(now) + step
        self._since = now
        if ppm is not None:
            self.ppm, self.rate = ppm, _MILLION + ppm


_NEVER = 1 << 62
