"""``etcd://``: elections in etcd, together with Go's; begin with `store`."""

from elector.stores.etcd.diagnosis import diagnose
from elector.stores.etcd.store import EtcdStore, open_store

__all__ = ["EtcdStore", "diagnose", "open_store"]
