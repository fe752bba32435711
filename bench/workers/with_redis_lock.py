"""The lock of redis-py: ``python -m bench.workers.with_redis_lock URL``.

As its documentation has it: a lock with a timeout, which a thread extends while the work lasts.
It leads once, until a line on standard input, or its end.
"""

import sys
import threading

import redis

from bench.workers.reporting import note

_TTL_S = 3.0


def main(url: str) -> None:
    """Wait for the lock, work, leave."""
    client = redis.Redis.from_url(url.partition("?")[0].replace("valkey://", "redis://"))
    lock = client.lock("bench", timeout=_TTL_S, thread_local=False)
    note("standing")
    lock.acquire()
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(_TTL_S / 3):
            lock.extend(_TTL_S, replace_ttl=True)

    renewing = threading.Thread(target=renew)
    renewing.start()
    note("begin")
    sys.stdin.readline()
    ended.set()
    note("end")
    lock.release()
    renewing.join()


if __name__ == "__main__":
    main(sys.argv[1])
