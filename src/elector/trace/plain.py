"""A protocol's own values as JSON has them, always in the same order.

>>> from elector.core.events import TimerFired
>>> plain(TimerFired(at=5, name="renew"))
{'type': 'TimerFired', 'at': 5, 'name': 'renew'}
>>> plain(frozenset({2, 0, 1}))
[0, 1, 2]
"""

from typing import Any

import msgspec


def plain(value: Any) -> Any:
    """Dictionaries, lists, strings and numbers; tagged structs keep their ``type``.

    Sets are written in order, so that one value is always one text.
    """
    return msgspec.to_builtins(value, order="deterministic", str_keys=True)
