"""Asking a probe of the user's whether the application makes progress."""

import logging
import threading
import time
from collections.abc import Callable

_AGAIN_SECONDS = 0.5
_log = logging.getLogger("elector")


def ask_probe(
    probe: Callable[[], bool], answer: Callable[[], None], gone: Callable[[], bool]
) -> None:
    """Call `answer` when the probe says yes; it may take its time, it has a thread.

    Args:
        probe: the user's; an exception counts as no.
        answer: tells the engine.
        gone: whether nobody wants to know any more.
    """
    threading.Thread(
        target=_ask, args=(probe, answer, gone), name="elector-probe", daemon=True
    ).start()


def _ask(probe: Callable[[], bool], answer: Callable[[], None], gone: Callable[[], bool]) -> None:
    while not gone():
        try:
            if probe():
                answer()
                return
        except Exception:  # noqa: BLE001 - a probe may raise anything, and that is a no
            _log.exception("elector: the progress probe raised, which counts as no progress")
        time.sleep(_AGAIN_SECONDS)
