"""Where a Redis or Valkey server is, and how to speak to it: the store's URL taken apart.

::

    redis://[user[:password]@]host[:port][/db][?prefix=elector]        plain
    rediss://host[:port]/db?ca=ca.pem[&cert=me.pem&key=me.key]         TLS
    redis://s1[:26379],s2,s3/db?sentinel=NAME                          Sentinels that watch NAME

``valkey://`` and ``valkeys://`` are the same. A password that is not in the URL is taken from
``REDISCLI_AUTH``, as redis-cli and valkey-cli do. Characters with a meaning in URLs are written
as ``%40`` (@) and so on. The Sentinels' own password, where they have one, is
``sentinel_password=``.
"""

import os
import re
import ssl
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from elector.errors import ConfigurationError
from elector.stores.registry import StoreUrl

_PORT, _SENTINEL_PORT = 6379, 26379
_OPTIONS = frozenset({"prefix", "sentinel", "sentinel_password", "ca", "cert", "key"})
_PREFIX = re.compile(r"[A-Za-z0-9._:-]{1,100}")
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(?::(?P<port>\d{1,5}))?")

Host = tuple[str, int]


class Place(msgspec.Struct, frozen=True):
    """A server, or the Sentinels that know where it is; its `str` holds no secret."""

    hosts: tuple[Host, ...]
    database: int
    prefix: str
    create: bool
    user: str | None
    password: str | None
    sentinel: str | None
    sentinel_password: str | None
    tls: tuple[str | None, str | None, str | None] | None  # ca, certificate, its key

    def __str__(self) -> str:
        named = ",".join(in_words(host) for host in self.hosts)
        return f"{named} (Sentinel, {self.sentinel})" if self.sentinel else named

    def __repr__(self) -> str:
        return f"Place({self})"

    def key(self, kind: str, election: str = "") -> str:
        """The name of a key; see `elector.stores.redis.scripts`."""
        return f"{{{self.prefix}}}:{kind}" + (f":{election}" if election else "")

    def channel(self, kind: str, name: str) -> str:
        """The name of a channel; channels do not belong to a database, so it is in the name."""
        return f"{{{self.prefix}}}:{self.database}:{kind}:{name}"

    def connection(self, host: Host, *, to_sentinel: bool = False) -> Connection:
        """A connection that is not open yet, and that never tries anything twice."""
        options: dict[str, Any] = {
            "host": host[0],
            "port": host[1],
            "decode_responses": True,
            "encoding_errors": "replace",
            "protocol": 2,
            "retry": Retry(NoBackoff(), 0),
            "retry_on_error": [],
            "socket_timeout": None,
            "socket_keepalive": True,
            "health_check_interval": 0,
        }
        if to_sentinel:
            options |= {"password": self.sentinel_password}
        else:
            options |= {"db": self.database, "username": self.user, "password": self.password}
        if self.tls is None:
            return Connection(**options)
        ca, certificate, key = self.tls
        return SSLConnection(
            **options,
            ssl_ca_certs=ca,
            ssl_certfile=certificate,
            ssl_keyfile=key,
            ssl_cert_reqs="required",
            ssl_check_hostname=True,
            ssl_min_version=ssl.TLSVersion.TLSv1_2,
        )


def in_words(host: Host) -> str:
    """Host and port as in a URL.

    >>> in_words(("::1", 6379))
    '[::1]:6379'
    """
    return f"[{host[0]}]:{host[1]}" if ":" in host[0] else f"{host[0]}:{host[1]}"


def place_of(url: StoreUrl) -> Place:
    """Take a store URL apart.

    Raises:
        ConfigurationError: it is not one of the forms above; says which part.
    """
    address, _, query = url.rest.partition("?")
    login, at, where = address.rpartition("@")
    user, _, password = login.partition(":")
    names, _, database = where.partition("/")
    options = _options(url, query)
    tls = url.scheme in {"rediss", "valkeys"}
    for name in sorted(options.keys() & {"ca", "cert", "key"}):
        if not tls:
            raise ConfigurationError(f"{url}: {name}= belongs to rediss:// or valkeys://")
        if not os.access(options[name], os.R_OK):
            raise ConfigurationError(f"{url}: {name}={options[name]} cannot be read")
    sentinel = options.get("sentinel")
    port = _SENTINEL_PORT if sentinel else _PORT
    hosts = tuple(_host(url, name, port) for name in names.split(","))
    if len(hosts) > 1 and not sentinel:
        raise ConfigurationError(
            f"{url}: several hosts are Sentinels, so say whom they watch: ?sentinel=NAME"
        )
    if not re.fullmatch(r"\d{0,6}", database):
        raise ConfigurationError(f"{url}: {database!r} is not the number of a database, as in /0")
    prefix = options.get("prefix", "elector")
    if not _PREFIX.fullmatch(prefix):
        raise ConfigurationError(
            f"{url}: prefix {prefix!r} cannot be used: 1 to 100 letters, digits and . _ : -"
        )
    given = unquote(password) if at else ""
    return Place(
        hosts=hosts,
        database=int(database or 0),
        prefix=prefix,
        create=url.create,
        user=unquote(user) or None,
        password=given or os.environ.get("REDISCLI_AUTH") or None,
        sentinel=sentinel,
        sentinel_password=options.get("sentinel_password"),
        tls=(options.get("ca"), options.get("cert"), options.get("key")) if tls else None,
    )


def _options(url: StoreUrl, query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options.keys() - _OPTIONS:
        raise ConfigurationError(
            f"{url}: {name!r} is no option of this store (there are {', '.join(sorted(_OPTIONS))})"
        )
    for name, value in options.items():
        if not value:
            raise ConfigurationError(f"{url}: option {name!r} is empty")
    return options


def _host(url: StoreUrl, text: str, default_port: int) -> Host:
    found = _HOST.fullmatch(text)
    port = int(found["port"] or default_port) if found else 0
    if found is None or not 0 < port < 65536:  # noqa: PLR2004 - how many ports there are
        raise ConfigurationError(f"{url}: {text!r} is not a host: write redis://host:6379/0")
    return found["host"].strip("[]"), port
