"""``postgresql://``: elections in rows of a PostgreSQL database; begin with `store`."""

from elector.stores.postgresql.diagnosis import diagnose
from elector.stores.postgresql.store import PostgresStore, open_store

__all__ = ["PostgresStore", "diagnose", "open_store"]
