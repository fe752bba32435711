"""``file://``: elections of one host by the kernel's locks; begin with `store`."""

from elector.stores.file.store import FileStore, open_store

__all__ = ["FileStore", "open_store"]
