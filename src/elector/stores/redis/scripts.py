"""What runs inside Redis or Valkey: one script for each operation, each for many elections at once.

A script is carried out alone and whole, so what it reads and what it writes cannot be torn
apart; the news of a change leaves with the change. Keys of one election, all with one hash tag
so that they live on one node of a cluster::

    {prefix}:office:NAME   hash: token, holder, instance, until, since, heir, kept, called, ask
    {prefix}:line:NAME     sorted set: who waits, by the time of its first vain request
    {prefix}:past:NAME     list: tenures, newest first
    {prefix}:tokens        hash: the last token of every election, a second time

No key has a time to live, so that no ``volatile-*`` policy may evict one: a lease ends when the
server's clock has passed `until` (microseconds since 1970). The last token stands in two keys, and
an election whose two keys disagree is refused: one of them was lost, and with it perhaps a lease.

A token is the server's time in milliseconds, or one more than the last where that is higher. So
tokens rise by one rule with intact data, and stay above every older one even where the data was
lost: a failover to a replica that had not heard of the last grants gives a *higher* token to the
next leader, where a plain counter would give the same one to two. What a failover loses is
the lease, and a guard tells the two leaders apart.

A failure within an election does not touch the others of the batch; it is that election's answer.
Everything that can be of the wrong type is read before anything is written.

``PUBSUB NUMSUB`` on the channel of a waiting process's name tells whether that process is still
there, so that nobody is called who is gone.
"""

import hashlib
from typing import NamedTuple


class Script(NamedTuple):
    """A script, and the name by which the server knows it."""

    text: str
    sha1: str


_COMMON = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local tokens, news, alive = KEYS[1], ARGV[1], ARGV[2]
local batch = cjson.decode(ARGV[3])

local function whole(number) return string.format('%.0f', number) end

-- All that is known of the i-th election of the batch. Lua's numbers are exact up to 2^53.
local function open(i)
  local o = {name = batch[i].name,
             office = KEYS[3 * i - 1], line = KEYS[3 * i], past = KEYS[3 * i + 1]}
  local f = redis.call('HMGET', o.office, 'token', 'holder', 'instance', 'until', 'since',
                       'heir', 'kept', 'called', 'ask')
  local last = redis.call('HGET', tokens, o.name)
  if f[1] ~= last then
    error({err = 'CORRUPT ' .. o.office .. ' knows of token ' .. (f[1] or 'none') .. ', and '
                 .. tokens .. ' of ' .. (last or 'none')})
  end
  if not f[1] and redis.call('EXISTS', o.office, o.past) > 0 then
    error({err = 'CORRUPT ' .. o.office .. ' has lost its token'})
  end
  o.token = tonumber(f[1] or '0')
  if not o.token or o.token % 1 ~= 0 or o.token < 0 or o.token > 9007199254740000 then
    error({err = 'CORRUPT the token in ' .. o.office .. ' is not one: ' .. f[1]})
  end
  o.ends, o.since = tonumber(f[4] or '0'), f[5] or ''
  if not o.ends or not tonumber(f[5] or '0') then
    error({err = 'CORRUPT the lease in ' .. o.office .. ' has no times'})
  end
  o.lapsed = f[2] and o.ends <= now
  if f[2] and not o.lapsed then o.holder, o.instance = f[2], f[3] end
  if f[6] and not o.holder and tonumber(f[7] or '0') > now then
    o.heir, o.kept = f[6], tonumber(f[7])
  end
  o.called, o.ask = f[8], f[9]
  return o
end

local function each(work)
  local answers = {}
  for i, entry in ipairs(batch) do
    local done, answer = pcall(function() return work(open(i), entry, i) end)
    if not done then
      answer = {'failed', type(answer) == 'table' and answer.err or tostring(answer)}
    end
    answers[i] = answer
  end
  return answers
end

local function ours(o, entry)
  return o.holder and o.instance == entry.instance and whole(o.token) == entry.token
end

local function announce(o)
  local message = {token = whole(o.token), called = o.called or nil}
  if o.holder then
    message.leader, message.instance, message.left = o.holder, o.instance, whole(o.ends - now)
  end
  redis.call('PUBLISH', news .. o.name, cjson.encode(message))
end

local present = {}
local function is_there(session)
  if present[session] == nil then
    present[session] = redis.call('PUBSUB', 'NUMSUB', alive .. session)[2] > 0
  end
  return present[session]
end

-- Who waits, first in line first, as {session, instance, name, member}.
local function line(o)
  local waiting = {}
  for _, member in ipairs(redis.call('ZRANGE', o.line, 0, -1)) do
    local read, who = pcall(cjson.decode, member)
    if read and type(who) == 'table' and who[3] then
      who[4] = member
      waiting[#waiting + 1] = who
    end
  end
  return waiting
end
"""

_CHANGING = """
-- A key of the wrong type is found before the first write.
local function look_over(o)
  redis.call('ZCARD', o.line)
  redis.call('LLEN', o.past)
end

local function strike_out(o, waiting)
  redis.call('ZREM', o.line, waiting[4])
end

local function call_next(o)
  o.called = nil
  redis.call('HDEL', o.office, 'called')
  for _, who in ipairs(line(o)) do
    if not is_there(who[1]) then
      strike_out(o, who)
    elseif not o.heir or who[3] == o.heir then
      o.called = who[2]
      redis.call('HSET', o.office, 'called', o.called)
      return
    end
  end
end

-- A new one in line is the occasion to strike out those that left without a word.
local function enlist(o, member, i)
  if member and redis.call('ZADD', o.line, 'NX', whole(now + i), member) == 1 then
    for _, who in ipairs(line(o)) do
      if not is_there(who[1]) then strike_out(o, who) end
    end
  end
end

local function end_tenure(o, at, reason)
  local head = redis.call('LINDEX', o.past, 0)
  if not head then return end
  local read, tenure = pcall(cjson.decode, head)
  if read and tenure.token == whole(o.token) and not tenure.ended then
    tenure.ended, tenure.reason = whole(at), reason
    redis.call('LSET', o.past, 0, cjson.encode(tenure))
  end
end
"""

_ACQUIRE = """
return each(function(o, entry, i)
  look_over(o)
  if o.holder and o.instance == entry.instance then
    redis.call('HSET', o.office, 'until', whole(now + entry.ttl))
    return {'granted', whole(o.token)}
  end
  if o.holder or (o.heir and o.heir ~= entry.candidate) then
    enlist(o, entry.member, i)
    local free_at = o.holder and o.ends or o.kept
    return {'occupied', o.holder or '', whole(o.token), whole(free_at - now)}
  end
  if o.lapsed then end_tenure(o, o.ends, 'expired') end
  o.token = math.max(o.token + 1, math.floor(now / 1000))
  o.holder, o.instance, o.ends, o.called = entry.candidate, entry.instance, now + entry.ttl, nil
  redis.call('HSET', tokens, o.name, whole(o.token))
  redis.call('HSET', o.office, 'token', whole(o.token), 'holder', o.holder,
             'instance', o.instance, 'until', whole(o.ends), 'since', whole(now))
  redis.call('HDEL', o.office, 'heir', 'kept', 'called', 'ask')
  if entry.member then redis.call('ZREM', o.line, entry.member) end
  redis.call('LPUSH', o.past, cjson.encode(
    {token = whole(o.token), holder = o.holder, began = whole(now)}))
  redis.call('LTRIM', o.past, 0, 999)
  announce(o)
  return {'granted', whole(o.token)}
end)
"""

_RENEW = """
return each(function(o, entry)
  if not ours(o, entry) then return {'lost'} end
  redis.call('HSET', o.office, 'until', whole(now + entry.ttl))
  if not o.ask then return {'renewed'} end
  redis.call('HDEL', o.office, 'ask')
  return {'renewed', o.ask}
end)
"""

_RELEASE = """
return each(function(o, entry)
  look_over(o)
  if not ours(o, entry) then return {'lost'} end
  end_tenure(o, now, entry.reason)
  redis.call('HDEL', o.office, 'holder', 'instance', 'until', 'since', 'ask')
  o.holder = nil
  for _, who in ipairs(entry.heir and line(o) or {}) do
    if who[3] == entry.heir and is_there(who[1]) then
      o.heir = entry.heir
      local kept = whole(now + math.min(entry.ttl, 5000000))
      redis.call('HSET', o.office, 'heir', o.heir, 'kept', kept)
      break
    end
  end
  call_next(o)
  announce(o)
  return {'released'}
end)
"""

_LEAVE = """
return each(function(o, entry)
  redis.call('ZREM', o.line, entry.member)
  if not o.holder and o.called == entry.instance then
    redis.call('HDEL', o.office, 'heir', 'kept')
    o.heir = nil
    call_next(o)
    if o.called then announce(o) end
  end
  return {'left'}
end)
"""

_REJOIN = """
return each(function(o, entry, i)
  if o.holder and o.instance ~= entry.instance then enlist(o, entry.member, i) end
  return {'rejoined'}
end)
"""

_ASK = """
return each(function(o, entry)
  if not o.holder or whole(o.token) ~= entry.token then return {'late'} end
  redis.call('HSET', o.office, 'ask', entry.heir or '')
  redis.call('PUBLISH', news .. o.name, cjson.encode(
    {token = entry.token, instance = o.instance, heir = entry.heir, ask = true}))
  return {'asked'}
end)
"""

_LOOK = """
return each(function(o)
  local record = {'seen', whole(o.token), o.holder or '', o.instance or '',
                  o.holder and whole(o.ends - now) or '', o.since,
                  o.heir or '', o.kept and whole(o.kept - now) or ''}
  for _, who in ipairs(line(o)) do
    if is_there(who[1]) then record[#record + 1] = who[3] end
  end
  return record
end)
"""

_HISTORY = """
return each(function(o, entry)
  local past = {'past', o.lapsed and whole(o.ends) or ''}
  for _, tenure in ipairs(redis.call('LRANGE', o.past, 0, entry.limit - 1)) do
    past[#past + 1] = tenure
  end
  return past
end)
"""

# What this user may not do, found without doing it. ARGV: office, line, past, a channel of news,
# a channel of presence, and whether it is to stand as a candidate.
_MAY = """
local tokens, office, line, past, news, alive = KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1], ARGV[2]
local wanted = {
  {'TIME'}, {'PUBSUB', 'NUMSUB', alive}, {'SUBSCRIBE', news}, {'SUBSCRIBE', alive},
  {'HKEYS', tokens}, {'HGET', tokens, 'x'}, {'HMGET', office, 'x'}, {'EXISTS', office},
  {'ZCARD', line}, {'ZRANGE', line, '0', '-1'}, {'LLEN', past}, {'LRANGE', past, '0', '1'}}
if ARGV[3] == 'stand' then
  for _, command in ipairs({
    {'HSET', tokens, 'x', 'y'}, {'HSET', office, 'x', 'y'}, {'HDEL', office, 'x'},
    {'ZADD', line, 'NX', '1', 'x'}, {'ZREM', line, 'x'}, {'PUBLISH', news, 'x'},
    {'LPUSH', past, 'x'}, {'LTRIM', past, '0', '1'}, {'LINDEX', past, '0'}, {'LSET', past, '0', 'x'}
  }) do wanted[#wanted + 1] = command end
end
local missing = {}
for _, command in ipairs(wanted) do
  if not redis.acl_check_cmd(unpack(command)) then
    local key = command[1] == 'PUBSUB' and '' or (command[2] or '')
    missing[#missing + 1] = command[1] .. (key ~= '' and (' ' .. key) or '')
  end
end
return missing
"""


def _script(flags: str, *parts: str) -> Script:
    text = "#!lua" + (f" flags={flags}" if flags else "") + "".join(parts)
    return Script(text, hashlib.sha1(text.encode()).hexdigest())  # noqa: S324 - Redis names it so


# A full memory must not take the office from those who have it: what keeps or ends a tenure may
# write all the same, a few bytes over what is there; only new tenures are refused.
ACQUIRE = _script("", _COMMON, _CHANGING, _ACQUIRE)
RENEW = _script("allow-oom", _COMMON, _RENEW)
RELEASE = _script("allow-oom", _COMMON, _CHANGING, _RELEASE)
LEAVE = _script("allow-oom", _COMMON, _CHANGING, _LEAVE)
REJOIN = _script("", _COMMON, _CHANGING, _REJOIN)
ASK = _script("allow-oom", _COMMON, _ASK)
LOOK = _script("no-writes", _COMMON, _LOOK)
HISTORY = _script("no-writes", _COMMON, _HISTORY)
MAY = _script("no-writes", "\n", _MAY)
