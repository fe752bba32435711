"""Stores that are servers, measured one by one, beside others on the same server.

``python bench/run.py --stores``, or ``--only postgresql`` and so on.
"""

from bench.servers.section import measure

__all__ = ["measure"]
