"""Candidates of the kubernetes client: ``python -m bench.workers.with_kubernetes DIRECTORY COUNT``.

One thread for each election; the client needs one, and sleeps in it. Each candidate reports as
``WHO.NUMBER``: ``standing``, ``begin``, and ``works`` for each step of its work after a step in
which it was frozen. The process ends at a line on standard input, or at its end; and when a
leadership is lost, which the client tells only once it has given up renewing.
"""

import os
import random
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.workers.kubernetes_lock import FileLock
from bench.workers.reporting import note
from elector.clock import now_ns
from elector.core.duration import SECOND_NS

# By name, since this part of the client has no types.
_configs: Any = import_module("kubernetes.leaderelection.electionconfig")
_elections: Any = import_module("kubernetes.leaderelection.leaderelection")

# The ttl of the others; the client refuses a retry period under 1 s, and a renew deadline
# that is not more than 1.2 times as long.
_LEASE_S, _RENEW_DEADLINE_S, _RETRY_S = 3, 2, 1
_STEP_S = 0.02


def stand(directory: Path, number: int) -> None:
    """One candidate, for ever."""
    who = f"{os.environ['BENCH_WHO']}.{number}"

    def work() -> None:
        note("begin", who=who)
        frozen = False
        while True:
            began = now_ns()
            time.sleep(_STEP_S)
            frozen = frozen or now_ns() - began > SECOND_NS
            if frozen:
                note("works", who=who)

    lock = FileLock(directory / f"lease{number}", who)
    config = _configs.Config(
        lock,
        lease_duration=_LEASE_S,
        renew_deadline=_RENEW_DEADLINE_S,
        retry_period=_RETRY_S,
        onstarted_leading=work,
        onstopped_leading=lambda: os._exit(1),
    )
    note("standing", who=who)
    _elections.LeaderElection(config).run()


def main(directory: Path, count: int) -> None:
    """All candidates, their retries spread over a period; until told to go."""
    drawn = random.Random(os.environ["BENCH_WHO"])  # noqa: S311 - no secret
    for number in range(count):
        threading.Thread(target=stand, args=(directory, number), daemon=True).start()
        time.sleep(drawn.uniform(0, 2 * _RETRY_S / count))
    sys.stdin.readline()
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
