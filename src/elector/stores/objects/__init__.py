"""``s3://``, ``gs://``, ``az://``: elections in objects, compared and set; begin with `store`."""

from elector.stores.objects.diagnosis import diagnose
from elector.stores.objects.store import ObjectStore, open_store

__all__ = ["ObjectStore", "diagnose", "open_store"]
