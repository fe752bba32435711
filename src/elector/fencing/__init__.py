"""Guards: what a resource does so that a former leader cannot harm it.

A lease alone cannot protect a resource from a leader that was paused between its last look
at the clock and its write. The resource can: every tenure has a **fencing token**, higher
than all before it, and a guard refuses a token lower than the highest it has let in. Equal
tokens pass, because one tenure writes many times.

The check is only as good as its bond with the write: both belong in **one** transaction.

>>> guard = MemoryGuard()
>>> with guard.writing("ledger", token=2):
...     pass                                   # check and write are one
>>> with guard.writing("ledger", token=1):     # an older leader, back from a long pause
...     pass
Traceback (most recent call last):
...
elector.errors.StaleToken: refused: 'ledger' has been written under token 2, so token 1 belongs \
to a leader that was replaced; stop this work and campaign again

Here are the guards for a DB-API 2 connection, for tables of SQLite, and for one process. The
others are imported by the name of their resource: ``elector.fencing.postgresql``,
``.sqlalchemy``, ``.redis``, ``.etcd``, ``.objects`` (S3, GCS, Azure Blob) and ``.http``.

Source: Kleppmann, "How to do distributed locking" (2016); Burrows, "The Chubby lock service"
(OSDI 2006), section 2.4, where the token is called a sequencer.
"""

from elector.errors import StaleToken
from elector.fencing.memory import MemoryGuard
from elector.fencing.sql import SqlGuard
from elector.fencing.trigger import guard_trigger

__all__ = ["MemoryGuard", "SqlGuard", "StaleToken", "guard_trigger"]
