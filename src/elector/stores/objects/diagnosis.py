"""What ``elector doctor`` finds out about a bucket."""

from elector.clock import now_ns
from elector.core.duration import format_duration
from elector.errors import ConfigurationError, StoreError, UnsupportedTrait
from elector.stores.objects.bucket import Bucket
from elector.stores.objects.url import spot_of
from elector.stores.port import Finding
from elector.stores.registry import StoreUrl


async def diagnose(url: StoreUrl) -> list[Finding]:
    """Look at a bucket; one that is down, or refuses us, is a finding too."""
    try:
        bucket = Bucket(spot_of(url))
    except ConfigurationError as error:
        return [Finding("reachability", "bad", str(error))]
    try:
        return [await _reached(bucket), *_promised(bucket)]
    except UnsupportedTrait as error:
        return [_bad("conditions", error)]
    except StoreError as error:
        return [_bad("reachability", error)]
    finally:
        await bucket.close()


def _bad(what: str, error: StoreError) -> Finding:
    says, _, remedy = str(error).partition(": ")
    return Finding(what, "bad", says, remedy or None)


async def _reached(bucket: Bucket) -> Finding:
    asked = now_ns()
    names = await bucket.names(bucket.spot.prefix)
    took_ms = (now_ns() - asked) / 1e6
    await bucket.reach()
    spot = bucket.spot
    at = f" at {spot.endpoint}" if spot.endpoint else ""
    says = f"{spot}{at} may be listed and read, {len(names)} objects; a list takes {took_ms:.2g} ms"
    return Finding("reachability", "good", says)


def _promised(bucket: Bucket) -> list[Finding]:
    spot = bucket.spot
    findings = []
    if spot.create:
        says = "a write whose condition does not hold is refused: tried"
        findings.append(Finding("conditions", "good", says))
    poll = format_duration(spot.poll_ns)
    says = f"whoever waits looks each {poll}: so long a release may go unnoticed"
    findings.append(Finding("polling", "good", says))
    if spot.endpoint is not None and spot.endpoint.startswith("http://"):
        says = "requests go over plain http, where anybody on the way may change them"
        remedy = "use an https:// endpoint outside this machine"
        findings.append(Finding("transport", "doubtful", says, remedy))
    return findings
