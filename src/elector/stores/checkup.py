"""What ``elector doctor`` looks at: what an adapter knows of its store, and a trial of it."""

import statistics

from elector.core.duration import format_duration
from elector.core.timing import LeaseTiming
from elector.errors import ConfigurationError, StoreError
from elector.stores.port import Finding, Traits
from elector.stores.registry import StoreUrl, diagnosis_for, open_store
from elector.stores.trial import Trial, try_out

_ROUNDS = 10


async def check_up(url: StoreUrl, timing: LeaseTiming, *, trial: bool) -> list[Finding]:
    """Everything that can be found out about a store, for these settings.

    Args:
        url: of the store.
        timing: the settings it is to be used with.
        trial: whether to hold an election there; without, nothing is written.
    """
    diagnose = diagnosis_for(url.scheme)
    findings = [] if diagnose is None else await diagnose(url)
    try:
        store = await open_store(StoreUrl(url.scheme, url.rest, create=trial))
    except (StoreError, ConfigurationError) as error:
        known = any(finding.level == "bad" for finding in findings)
        return findings if known else [*findings, Finding("reachability", "bad", str(error))]
    traits = store.traits
    await store.close()
    findings += [*_promises(traits), *_settings(traits, timing)]
    if trial:
        findings += await _tried(url)
    return findings


def _promises(traits: Traits) -> list[Finding]:
    ends = {
        "server": "the server ends a silent leader's lease",
        "observer": "a contender takes over when it has seen no renewal for the whole lease",
        "host clock": "the host's clock ends a silent leader's lease",
        "never": "a leader stays until its process ends",
    }[traits.expiry]
    push = "a vacancy is announced at once" if traits.push else "a vacancy is found by asking"
    safe = traits.failover_loss.startswith("nothing")
    return [
        Finding("expiry", "good", f"{ends}; clock: {traits.clock}"),
        Finding("news", "good", push),
        Finding("token", "good", traits.token_source),
        Finding(
            "failover",
            "good" if safe else "doubtful",
            f"what a failover or a restore of the store can lose: {traits.failover_loss}",
        ),
    ]


def _settings(traits: Traits, timing: LeaseTiming) -> list[Finding]:
    ttl = format_duration(timing.ttl_ns)
    if timing.ttl_ns < traits.least_ttl_ns:
        least = format_duration(traits.least_ttl_ns)
        return [
            Finding("ttl", "bad", f"{ttl} is below this store's least, {least}", f"--ttl {least}")
        ]
    bound = format_duration(_tenths(timing.failover_bound_ns()))
    outage = format_duration(_tenths(timing.outage_budget_ns()))
    return [
        Finding(
            "ttl",
            "good",
            f"{ttl}; after a leader vanishes without a word somebody leads within {bound}",
        ),
        Finding("outage", "good", f"a leader survives {outage} without an answer of the store"),
    ]


def _tenths(duration_ns: int) -> int:
    return duration_ns // 100_000_000 * 100_000_000


async def _tried(url: StoreUrl) -> list[Finding]:
    try:
        trial = await try_out(lambda: open_store(url), _ROUNDS)
    except StoreError as error:
        return [Finding("trial", "bad", str(error))]
    return [Finding("trial", "good", in_words(trial))]


def in_words(trial: Trial) -> str:
    """The medians of a trial.

    >>> in_words(Trial((1_200_000,), (900_000,), (2_000_000,)))
    'acquire 1.2 ms, renew 0.9 ms, release until a waiting candidate knows 2 ms (medians)'
    """
    acquire, renew, handover = (
        f"{statistics.median(figures) / 1e6:.3g} ms"
        for figures in (trial.acquire_ns, trial.renew_ns, trial.handover_ns)
    )
    return (
        f"acquire {acquire}, renew {renew}, release until a waiting candidate knows {handover} "
        "(medians)"
    )
