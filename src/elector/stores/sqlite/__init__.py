"""``sqlite://``: elections of one host in an SQLite file; begin with `store`."""

from elector.stores.sqlite.store import SqliteStore, open_store

__all__ = ["SqliteStore", "open_store"]
