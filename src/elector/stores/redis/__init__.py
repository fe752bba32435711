"""``redis://`` and ``valkey://``: elections on a Redis or Valkey server; begin with `store`."""

from elector.stores.redis.diagnosis import diagnose
from elector.stores.redis.store import RedisStore, open_store

__all__ = ["RedisStore", "diagnose", "open_store"]
