"""What ``elector doctor`` finds out about an etcd store."""

import grpc.aio

from elector.errors import ConfigurationError, StoreError
from elector.stores.etcd import wire
from elector.stores.etcd.client import PATIENCE_S, Client, Endpoints, Line, settings_of
from elector.stores.etcd.view import Keys
from elector.stores.port import Finding
from elector.stores.registry import StoreUrl

_TRIAL = "elector-doctor"


async def diagnose(url: StoreUrl) -> list[Finding]:
    """Look at every endpoint and at what we may do; never raises for the store."""
    findings = []
    try:
        endpoints = Endpoints(settings_of(url), str(url))
        line = await endpoints.dial()
    except (StoreError, ConfigurationError) as error:
        return [Finding("reachability", "bad", *_split(error))]

    async def get() -> Line:
        return line

    client = Client(endpoints, get, lambda _: None)
    try:
        findings += [await _reached(endpoints), _version(line), _alarms(line)]
        findings += [_user(endpoints, line), await _rights(client, endpoints)]
        findings += [await _members(client), await _shortest(client)]
    except StoreError as error:
        findings.append(Finding("examination", "bad", *_split(error)))
    finally:
        await line.channel.close()
    return findings


def _split(error: Exception) -> tuple[str, str | None]:
    says, _, remedy = str(error).rpartition("; ")
    return (says, remedy) if says else (remedy, None)


async def _reached(endpoints: Endpoints) -> Finding:
    """Each endpoint by itself: the others are what it needs when one fails."""
    silent = []
    for endpoint in endpoints.settings.endpoints:
        alone = Endpoints(endpoints.only(endpoint), endpoints.name)
        try:
            line = await alone.dial()
        except StoreError:
            silent.append(endpoint)
        else:
            await line.channel.close()
    count = len(endpoints.settings.endpoints)
    if silent:
        says = f"{', '.join(silent)} of {count} endpoints cannot be used"
        return Finding("reachability", "doubtful", says, "start these members or take them out")
    return Finding("reachability", "good", f"each of {count} endpoints answers and has a leader")


def _version(line: Line) -> Finding:
    return Finding("version", "good", f"etcd {line.status.version}")


def _alarms(line: Line) -> Finding:
    if line.status.errors:
        says = "; ".join(line.status.errors)
        remedy = "for NOSPACE: compact, defragment, then etcdctl alarm disarm"
        return Finding("alarms", "bad", says, remedy)
    return Finding("alarms", "good", f"none; the database has {line.status.dbSize >> 20} MiB")


def _user(endpoints: Endpoints, line: Line) -> Finding:
    user, tls = endpoints.settings.user, endpoints.settings.tls
    way = "with TLS" if tls else "without TLS"
    if user is not None and line.token is None:
        says = f"{user[0]}, but etcd has no authentication: anybody may end any tenure; {way}"
        return Finding("user", "doubtful", says, "etcdctl auth enable")
    return Finding("user", "good", f"{user[0] if user else 'nobody in particular'}; {way}")


async def _rights(client: Client, endpoints: Endpoints) -> Finding:
    """Ask to write, under a condition that never holds: rights are checked, nothing is written."""
    keys = Keys(endpoints.settings.prefix, _TRIAL)
    steps = [
        wire.read(keys.first, keys.end),
        wire.put(keys.office, b""),
        wire.put(keys.past(0), b""),
        wire.delete(keys.contender(1)),
    ]
    never = wire.created_at(keys.office, -1)
    request = wire.message("TxnRequest", compare=[never], success=steps)
    try:
        await client.write("Txn", request)
    except StoreError as error:
        return Finding("rights", "bad", *_split(error))
    where = f"under {endpoints.settings.prefix}/" if endpoints.settings.prefix else "everywhere"
    return Finding("rights", "good", f"may read and write {where}")


async def _members(client: Client) -> Finding:
    line = await client.get()
    try:
        listed = await line.once("MemberList", wire.message("MemberListRequest"), PATIENCE_S)
    except grpc.aio.AioRpcError:
        return Finding("durability", "good", "who the members are is not for this user to know")
    voters = [member for member in listed.members if not member.isLearner]
    survives = (len(voters) - 1) // 2
    if survives:
        says = f"{len(voters)} members: the store survives the loss of {survives}"
        return Finding("durability", "good", says)
    says = f"{len(voters)} of the members vote: the store does not survive the loss of one"
    return Finding("durability", "doubtful", says, "run three members or five")


async def _shortest(client: Client) -> Finding:
    shortest = await client.write("LeaseGrant", wire.message("LeaseGrantRequest", TTL=1))
    says = f"leases are whole seconds, from {shortest.TTL} s on; they end up to 0.5 s late"
    return Finding("clock", "good", f"{says}; counted on the monotonic clock of etcd's leader")
