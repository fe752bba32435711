"""``etcdctl elect``: ``python -m bench.workers.with_etcdctl PORT``.

The work begins when etcdctl says that it has won, and at its end etcdctl is interrupted, at
which it resigns. If this process is killed, etcdctl is killed with it.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

from bench.workers.reporting import note
from tests.servers.etcd import ETCDCTL


def main(port: str) -> None:
    """Wait to be elected, work, leave."""
    # An election for each stage: whoever is killed at the end of one holds its own for a minute.
    stage = Path(os.environ["BENCH_STAMPS"]).parent.name
    command = [str(ETCDCTL), f"--endpoints=127.0.0.1:{port}", "elect", stage]
    election = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "--", *command, f"worker-{os.getpid()}"],
        stdout=subprocess.PIPE,
        env={**os.environ, "ETCDCTL_API": "3"},
    )
    note("standing")
    if election.stdout is None or not election.stdout.readline():
        sys.exit("etcdctl has ended")
    note("begin")
    sys.stdin.readline()
    note("end")
    election.send_signal(signal.SIGINT)
    election.wait()


if __name__ == "__main__":
    main(sys.argv[1])
