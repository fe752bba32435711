"""Where a bucket is, and as whom we go there: the store's URL taken apart.

::

    s3://bucket[/prefix][?region=eu-west-1&endpoint=http://127.0.0.1:9000&poll=1s]
    gs://bucket[/prefix][?poll=1s]
    az://container[/prefix][?account=name&poll=1s]

Without a prefix it is ``elector``. Credentials are never part of the URL. They come from where
each client library looks for them: for S3 ``AWS_ACCESS_KEY_ID`` and ``AWS_SECRET_ACCESS_KEY``, a
web identity or container token, the profile ``AWS_PROFILE`` of ``~/.aws/credentials`` (keys only),
or the machine's own role; for Google ``GOOGLE_APPLICATION_CREDENTIALS`` or what gcloud has left;
for Azure ``AZURE_STORAGE_ACCOUNT_NAME`` with ``AZURE_STORAGE_ACCOUNT_KEY`` or a token. An
``endpoint`` that begins with ``http://`` is spoken to without TLS, no other is.
"""

import configparser
import os
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
from obstore.store import AzureStore, GCSStore, S3Store

from elector.core.duration import SECOND_NS, parse_duration
from elector.errors import ConfigurationError
from elector.stores.registry import StoreUrl

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

Client = S3Store | GCSStore | AzureStore

PATIENCE_S = 5.0
_CONNECT_S = 1.5
_PREFIX = "elector"
_POLL_NS = SECOND_NS
_LEAST_POLL_NS = SECOND_NS // 100
_OPTIONS = {
    "s3": frozenset({"endpoint", "region", "poll"}),
    "gs": frozenset({"endpoint", "poll"}),
    "az": frozenset({"endpoint", "account", "poll"}),
}
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}")
_PREFIX_FORM = re.compile(r"[A-Za-z0-9._=/-]{1,200}")

# A conditional write that is sent twice refuses itself, and nobody may wait for three minutes.
_NEVER_AGAIN: "RetryConfig" = {"max_retries": 0, "retry_timeout": timedelta(seconds=PATIENCE_S)}


class Spot(msgspec.Struct, frozen=True, kw_only=True):
    """A prefix in a bucket.

    Attributes:
        scheme: s3, gs or az.
        bucket: its name; on Azure it is called a container.
        prefix: of every object of ours, without slashes at its ends.
        endpoint: other than the cloud's own.
        region: of S3.
        account: of Azure.
        poll_ns: how often somebody who waits looks.
        create: whether anything may be written that was not there.
    """

    scheme: str
    bucket: str
    prefix: str
    endpoint: str | None
    region: str | None
    account: str | None
    poll_ns: int
    create: bool

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.prefix}"

    def path(self, name: str) -> str:
        """The name of an object under the prefix."""
        return f"{self.prefix}/{name}"

    def client(self) -> Client:
        """A client that never tries anything twice. It sends nothing yet."""
        options: ClientConfig = {
            "allow_http": self.endpoint is not None and self.endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=_CONNECT_S),
            "timeout": timedelta(seconds=PATIENCE_S),
        }
        given: dict[str, Any] = {"client_options": options, "retry_config": _NEVER_AGAIN}
        if self.scheme == "s3":
            chosen = {"endpoint": self.endpoint, "region": self.region, **_profile_keys()}
            return S3Store(self.bucket, **given, **_only_given(chosen))
        if self.scheme == "gs":
            return GCSStore(self.bucket, **given, **_only_given({"base_url": self.endpoint}))
        chosen = {"endpoint": self.endpoint, "account_name": self.account}
        return AzureStore(self.bucket, **given, **_only_given(chosen))


def _only_given(options: dict[str, str | None]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _profile_keys() -> dict[str, str]:
    """The keys of an AWS profile: the client looks everywhere else, but not into that file."""
    env = os.environ
    elsewhere = (
        "AWS_ACCESS_KEY_ID",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_SKIP_SIGNATURE",
    )
    if any(name in env for name in elsewhere) and "AWS_PROFILE" not in env:
        return {}
    file = env.get("AWS_SHARED_CREDENTIALS_FILE") or Path.home() / ".aws" / "credentials"
    profiles = configparser.ConfigParser(interpolation=None)
    try:
        profiles.read(file)
    except configparser.Error:
        return {}
    name = env.get("AWS_PROFILE", "default")
    profile = profiles[name] if profiles.has_section(name) else {}
    names = {
        "access_key_id": "aws_access_key_id",
        "secret_access_key": "aws_secret_access_key",
        "session_token": "aws_session_token",
    }
    return {ours: profile[theirs] for ours, theirs in names.items() if theirs in profile}


def spot_of(url: StoreUrl) -> Spot:
    """Take a store URL apart.

    Raises:
        ConfigurationError: it is not one of the forms above; says which part.

    >>> str(spot_of(StoreUrl("s3", "team-bucket/prod/?poll=500ms")))
    's3://team-bucket/prod'
    """
    address, _, query = url.rest.partition("?")
    bucket, _, rest = address.partition("/")
    prefix = "/".join(part for part in unquote(rest).split("/") if part) or _PREFIX
    if "@" in bucket or ":" in bucket:
        raise ConfigurationError(
            f"{url}: a bucket's URL names no user; credentials come from the environment"
        )
    if not _BUCKET.fullmatch(bucket):
        found = f"{bucket!r} is no name of one" if bucket else "none is named"
        raise ConfigurationError(
            f"{url} names no bucket or container ({found}): write {url.scheme}://bucket/prefix"
        )
    if not _PREFIX_FORM.fullmatch(prefix):
        raise ConfigurationError(
            f"{url}: a prefix has up to 200 letters, digits and . _ = / -, not {prefix!r}"
        )
    options = _options(url, query)
    return Spot(
        scheme=url.scheme,
        bucket=bucket,
        prefix=prefix,
        endpoint=_endpoint(url, options.get("endpoint")),
        region=options.get("region"),
        account=options.get("account"),
        poll_ns=_poll_ns(options.get("poll")),
        create=url.create,
    )


def _options(url: StoreUrl, query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    known = _OPTIONS[url.scheme]
    if unknown := sorted(options.keys() - known):
        raise ConfigurationError(
            f"{url}: there is no option {', '.join(unknown)} here; there are "
            f"{', '.join(sorted(known))}, and credentials come from the environment"
        )
    return options


def _endpoint(url: StoreUrl, text: str | None) -> str | None:
    if text is None:
        return None
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
        raise ConfigurationError(f"{url}: write endpoint=https://host:port, without a user")
    return text.rstrip("/")


def _poll_ns(text: str | None) -> int:
    poll_ns = _POLL_NS if text is None else parse_duration(text, "poll")
    if poll_ns < _LEAST_POLL_NS:
        raise ConfigurationError(f"poll is {text}; at least 10ms, for each look is a request")
    return poll_ns
