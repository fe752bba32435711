"""What a leader does with each kind of guarded resource: write its token as the value.

Each opens the resource and yields a function that writes under a token. The client libraries
are imported where they are used: a process writes to one kind.
"""

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

Write = Callable[[int], None]

RESOURCE = "the ledger"


@contextmanager
def http(where: str) -> Iterator[Write]:
    from elector.fencing.http import fencing_headers, raise_if_stale

    def write(token: int) -> None:
        signed = fencing_headers(token, RESOURCE)
        request = urllib.request.Request(where, str(token).encode(), signed)  # noqa: S310 - a test's
        try:
            urllib.request.urlopen(request).close()  # noqa: S310 - a test's own server
        except urllib.error.HTTPError as answer:
            with answer:
                raise_if_stale(answer.code, answer.read())
                raise

    yield write


@contextmanager
def sqlalchemy(where: str) -> Iterator[Write]:
    from sqlalchemy import create_engine, text
    from sqlalchemy.orm import Session

    from elector.fencing.sqlalchemy import guard_session

    engine = create_engine(where)

    def write(token: int) -> None:
        with Session(engine) as session:
            guard_session(session, RESOURCE, token)
            session.execute(text("INSERT INTO ledger (token) VALUES (:token)"), {"token": token})
            session.commit()

    yield write
    engine.dispose()


WRITERS: Mapping[str, Callable[[str], AbstractContextManager[Write]]] = {
    "http": http,
    "sqlalchemy": sqlalchemy,
}
