"""Guards for Redis and Valkey: the check and the commands are one script.

Model
    One key for each guarded resource holds the highest token let in. A Lua script looks at
    it, raises it, and carries out the caller's commands. The server runs one script at a
    time and nothing between its parts, so there is no room for a pause.

Laws
    1. A stale token changes nothing: the script ends before its first command.
    2. Tokens are compared as decimal texts: Lua's numbers are exact only up to 2**53.
    3. A bar that is no token is `StoreCorrupt`, never a new start.
    4. A script is not a transaction that rolls back: when a command fails (a wrong type),
       what came before it in the same call stays, as in ``MULTI``.

Where the bar is lost, so is its protection: in a failover to a replica that had not received
it, without persistence, or when ``maxmemory-policy`` evicts keys that have no lifetime
(``allkeys-*``). Keep the data that it guards on the same server: lost together, they agree.

If the connection breaks, the commands may have been carried out. Client libraries that try
again send them a second time; the token lets them in, so they had better be repeatable.

The client library is not imported here: a client is whatever has redis-py's ``eval``.
"""

import inspect
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any, Protocol

from elector.errors import ConfigurationError, StoreCorrupt
from elector.fencing.bar import checked_resource, checked_token, refusal

__all__ = [
    "AsyncRedisGuard",
    "RedisGuard",
]

# What a command or a script is made of, as redis-py encodes it.
Word = str | bytes | int | float

_ADMIT = """\
local bar = redis.pcall('GET', KEYS[1])
if type(bar) == 'table' then return {'damaged', bar.err} end
if bar then
  if not string.match(bar, '^[1-9]%d*$') then return {'damaged', bar} end
  if #bar > #ARGV[1] or (#bar == #ARGV[1] and bar > ARGV[1]) then return {'stale', bar} end
end
if bar ~= ARGV[1] then redis.call('SET', KEYS[1], ARGV[1]) end
"""

_RUN = f"""\
{_ADMIT}
local replies, at = {{}}, 2
while at <= #ARGV do
  local last = at + tonumber(ARGV[at])
  replies[#replies + 1] = redis.call(unpack(ARGV, at + 1, last))
  at = last + 1
end
return {{'done', replies}}
"""

_BEFORE_SCRIPT = f"""\
{_ADMIT}
table.remove(KEYS, 1)
table.remove(ARGV, 1)
return {{'done', (function(...)
"""
_AFTER_SCRIPT = "\nend)()}"

_MOST_WORDS = 7000  # of one command: Lua's stack holds about 8000


class Client(Protocol):
    """The part of a redis-py client, plain or asyncio, that a guard uses."""

    def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Any:
        """Run a script."""
        ...


class _Scripts:
    """What both guards share: the calls they send, and how they read the replies."""

    def __init__(self, client: Client, prefix: str = "elector:fence:") -> None:
        self._client, self._prefix = client, prefix

    def key(self, resource: str) -> str:
        """The key of a resource's bar.

        In a cluster all keys of a call have to lie in one slot. The part in braces decides
        that: name the guarded keys with the same one.

        >>> _Scripts(None).key("ledger")
        'elector:fence:{ledger}'
        """
        return f"{self._prefix}{{{checked_resource(resource)}}}"

    def _commands(self, resource: str, token: int, commands: Iterable[Sequence[Word]]) -> Any:
        commands = list(commands)  # it is gone through twice, and may be a generator
        if not all(_is_command(command) for command in commands):
            raise ConfigurationError(
                'each command is a list or tuple of 1 to 7000 words: [("SET", "total", 7)]'
            )
        words = [word for command in commands for word in (len(command), *command)]
        return self._send(_RUN, resource, token, (), words)

    def _script(
        self, script: str, resource: str, token: int, keys: Sequence[Word], args: Sequence[Word]
    ) -> Any:
        if script.lstrip().startswith("#!"):
            raise ConfigurationError(
                "a script with a shebang line cannot be guarded: the check must come first in it"
            )
        return self._send(f"{_BEFORE_SCRIPT}{script}{_AFTER_SCRIPT}", resource, token, keys, args)

    def _send(
        self, text: str, resource: str, token: int, keys: Sequence[Word], args: Sequence[Word]
    ) -> Any:
        key, ours = self.key(resource), checked_token(token)
        return self._client.eval(text, 1 + len(keys), key, *keys, ours, *args)

    def _read(self, reply: Sequence[Any], resource: str, token: int) -> Any:
        verdict = _text(reply[0])
        told: Any = reply[1] if len(reply) > 1 else None  # a script's nil ends the list
        if verdict == "stale":
            raise refusal(resource, token, int(told))
        if verdict == "damaged":
            raise StoreCorrupt(
                f"the key {self.key(resource)!r} holds no token but {_text(told)[:50]!r}: somebody "
                "else writes to it; restore the highest token, or give the guard another prefix"
            )
        if isinstance(told, Exception):
            raise told
        return told


class RedisGuard(_Scripts):
    """Refuses the commands of leaders that were replaced.

    Args:
        client: of redis-py, plain; for its asyncio clients there is `AsyncRedisGuard`.
        prefix: of the keys that remember the tokens.

    A client and a tenure at hand::

        guard = RedisGuard(redis.Redis())
        guard.run([("SET", "total", 7), ("RPUSH", "entries", "closed")], "ledger", tenure.token)
        guard.eval("return redis.call('INCRBY', KEYS[1], ARGV[1])", "ledger", tenure.token,
                   keys=["total"], args=[35])
    """

    def run(self, commands: Iterable[Sequence[Word]], resource: str, token: int) -> list[Any]:
        """Carry out commands under a token; their replies, in order.

        Args:
            commands: each a list or tuple of words, as ``("SET", "total", 7)``.
            resource: what is guarded, by a name all its writers agree on.
            token: `tenure.token`.

        Raises:
            StaleToken: a later leader has written; no command was carried out.
            StoreCorrupt: the bar is damaged; no command was carried out.
            ConfigurationError: this is no token, no name, or no list of commands.
        """
        replies: list[Any] = self._done(self._commands(resource, token, commands), resource, token)
        return replies

    def eval(
        self,
        script: str,
        resource: str,
        token: int,
        keys: Sequence[Word] = (),
        args: Sequence[Word] = (),
    ) -> Any:
        """Run a script under a token; it sees its own KEYS and ARGV, and only if admitted.

        Raises:
            StaleToken: a later leader has written; the script was not entered.
            StoreCorrupt: the bar is damaged; the script was not entered.
            ConfigurationError: this is no token, no name, or a script with a shebang.
        """
        return self._done(self._script(script, resource, token, keys, args), resource, token)

    def _done(self, reply: Any, resource: str, token: int) -> Any:
        if inspect.isawaitable(reply):
            if inspect.iscoroutine(reply):
                reply.close()  # it was never sent
            raise ConfigurationError("this is an asyncio client: use AsyncRedisGuard")
        return self._read(reply, resource, token)


class AsyncRedisGuard(_Scripts):
    """`RedisGuard` for the asyncio clients of redis-py.

    A client and a tenure at hand::

        guard = AsyncRedisGuard(redis.asyncio.Redis())
        await guard.run([("SET", "total", 7)], "ledger", tenure.token)
    """

    async def run(self, commands: Iterable[Sequence[Word]], resource: str, token: int) -> list[Any]:
        """Carry out commands under a token, as `RedisGuard.run` does."""
        reply = self._commands(resource, token, commands)
        replies: list[Any] = await self._done(reply, resource, token)
        return replies

    async def eval(
        self,
        script: str,
        resource: str,
        token: int,
        keys: Sequence[Word] = (),
        args: Sequence[Word] = (),
    ) -> Any:
        """Run a script under a token, as `RedisGuard.eval` does."""
        return await self._done(self._script(script, resource, token, keys, args), resource, token)

    async def _done(self, reply: Awaitable[Any] | Any, resource: str, token: int) -> Any:
        if not inspect.isawaitable(reply):
            raise ConfigurationError(
                "this is no asyncio client, and the call was carried out already: use RedisGuard"
            )
        return self._read(await reply, resource, token)


def _is_command(command: Sequence[Word]) -> bool:
    return isinstance(command, list | tuple) and 0 < len(command) <= _MOST_WORDS


def _text(told: Any) -> str:
    return told.decode(errors="replace") if isinstance(told, bytes) else str(told)
