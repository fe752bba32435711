"""What ``elector doctor`` finds out about a Redis or Valkey server. It changes nothing there."""

from collections.abc import Iterator
from datetime import UTC, datetime

from redis.exceptions import ResponseError

from elector.clock import now_ns
from elector.errors import ConfigurationError, StoreError
from elector.stores.port import Finding
from elector.stores.redis.link import PATIENCE_S, Link, may_not, reach
from elector.stores.redis.url import in_words, place_of
from elector.stores.registry import StoreUrl

_STEADY_S = 1.0


async def diagnose(url: StoreUrl) -> list[Finding]:
    """Look at a server; one that is down, or refuses us, is a finding too."""
    try:
        link = await reach(place_of(url))
    except (StoreError, ConfigurationError) as error:
        why, _, remedy = str(error).partition(": ")
        return [Finding("reachability", "bad", why, remedy or None)]
    try:
        async with link.patience(PATIENCE_S):
            return [await _reached(link), *await _looked_at(link)]
    except StoreError as error:
        return [Finding("reachability", "bad", str(error), "see whether the server is overloaded")]
    finally:
        await link.hang_up()


async def _looked_at(link: Link) -> list[Finding]:
    if link.server.too_old:
        says = f"{link.server.name}; Elector needs Redis 7.0 or any Valkey"
        return [Finding("version", "bad", says, "upgrade the server")]
    settings = await _settings(link)
    return [
        _version(link),
        _role(link),
        await _permissions(link),
        await _clock(link),
        _memory(link),
        *_durability(link, settings),
        *_replicas(link, settings),
    ]


async def _settings(link: Link) -> dict[str, str]:
    """What only CONFIG tells; empty where it is forbidden, as it is on most managed servers."""
    names = ("appendfsync", "save", "min-replicas-to-write", "min-slaves-to-write")
    try:
        flat = await link.ask("CONFIG", "GET", *names)
    except ResponseError:
        return {}
    return dict(zip(flat[::2], flat[1::2], strict=True))


async def _reached(link: Link) -> Finding:
    place = link.place
    asked = now_ns()
    await link.ask("PING")
    took_ms = (now_ns() - asked) / 1e6
    found = "" if place.sentinel is None else f", the primary that {place} names"
    says = (
        f"{in_words(link.host)}{found}, as user {place.user or 'default'!r}; a round trip takes "
        f"{took_ms:.2g} ms"
    )
    return Finding("reachability", "good", says)


def _version(link: Link) -> Finding:
    if not link.server.facts:
        return Finding(
            "version", "doubtful", "not told: this user may not ask for INFO", "allow INFO"
        )
    return Finding("version", "good", f"{link.server.name} (at least Redis 7.0 or any Valkey)")


def _role(link: Link) -> Finding:
    facts = link.server.facts
    if facts.get("role", "master") != "master":
        remedy = "name the primary, or Sentinels (?sentinel=NAME), in the URL"
        return Finding("role", "bad", "a replica, which takes no changes", remedy)
    if facts.get("cluster_enabled") == "1":
        says = "a node of a cluster: after a failover or a move of slots the URL is to be changed"
        return Finding("role", "doubtful", says, "prefer a server of its own, or Sentinel")
    return Finding("role", "good", "a primary")


async def _permissions(link: Link) -> Finding:
    place = link.place
    user = place.user or "default"
    missing = await may_not(link)
    if not missing:
        return Finding("permissions", "good", "all that it takes")
    return Finding(
        "permissions",
        "bad",
        f"user {user!r} may not {', '.join(missing)}",
        f"ACL SETUSER {user} +@read +@write +@pubsub +@scripting +@connection +time +info, "
        f"with keys ~{place.key('*')} and channels &{place.channel('*', '*')}",
    )


async def _clock(link: Link) -> Finding:
    seconds, microseconds = await link.ask("TIME")
    ahead_s = int(seconds) + int(microseconds) / 1e6 - datetime.now(UTC).timestamp()
    says = (
        "leases follow the server's wall clock, which is "
        f"{abs(ahead_s):.3f} s {'ahead of' if ahead_s > 0 else 'behind'} the one here"
    )
    if abs(ahead_s) < _STEADY_S:
        return Finding("clock", "good", f"{says}; a step of it would end leases early or late")
    return Finding(
        "clock",
        "doubtful",
        f"{says}; if it is set right in one step, leases end early or late",
        "let NTP slew the server's clock, never step it",
    )


def _memory(link: Link) -> Finding:
    facts = link.server.facts
    if "maxmemory_policy" not in facts:
        return Finding("memory", "doubtful", "the eviction policy is not told", "allow INFO")
    policy, limit = facts["maxmemory_policy"], facts.get("maxmemory_human", "0B")
    if not policy.startswith("allkeys"):
        says = f"no key of ours is ever evicted (maxmemory-policy {policy}, maxmemory {limit})"
        return Finding("memory", "good", says)
    remedy = "set maxmemory-policy to noeviction or a volatile-* policy"
    if link.server.evicts_anything:
        says = f"a full memory may cost leases and tokens: maxmemory-policy {policy}"
        return Finding("memory", "bad", says, remedy)
    says = f"maxmemory-policy {policy} would evict leases as soon as maxmemory is set"
    return Finding("memory", "doubtful", says, remedy)


def _durability(link: Link, settings: dict[str, str]) -> Iterator[Finding]:
    what, facts = "durability", link.server.facts
    always = "set appendonly yes and appendfsync always"
    lost = "leases are lost with them, and two may lead until the first one's next renewal"
    if "aof_enabled" not in facts:
        yield Finding(what, "doubtful", "the persistence is not told", "allow INFO")
    elif facts["aof_enabled"] == "0":
        kept = "nothing" if settings.get("save") == "" else "what the last snapshot has"
        says = f"a restart keeps {kept} (no append-only file): {lost}; tokens rise by the clock"
        yield Finding(what, "doubtful", says, always)
    elif settings.get("appendfsync") == "always":
        yield Finding(what, "good", "each change is on disk before it is answered")
    else:
        how = settings.get("appendfsync", "not told")
        says = f"a crash of the host can forget the last grants (appendfsync is {how}): {lost}"
        yield Finding(what, "doubtful", says, always)
    if facts.get("aof_last_write_status", "ok") != "ok":
        yield Finding(what, "bad", "the append-only file cannot be written", "free disk space")


def _replicas(link: Link, settings: dict[str, str]) -> Iterator[Finding]:
    what, facts = "replication", link.server.facts
    if "connected_slaves" not in facts:
        return
    count = int(facts["connected_slaves"])
    if count == 0:
        yield Finding(what, "good", "no replica, so no failover that forgets what was granted")
        return
    least = settings.get("min-replicas-to-write", settings.get("min-slaves-to-write", "0"))
    bound = (
        "a primary that is cut off goes on granting"
        if least == "0"
        else f"a primary that is cut off from {least} of them stops granting"
    )
    yield Finding(
        what,
        "doubtful",
        f"asynchronous, to {count}: a failover can forget the last grants, and two may lead until "
        f"the first one's next renewal, the second with the higher token; {bound}",
        "guard what the leader writes by its token"
        + ("; set min-replicas-to-write 1" if least == "0" else ""),
    )
