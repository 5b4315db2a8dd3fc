"""The keys, and the scripts that Redis runs in one piece.

They are sent whole each time (EVAL): hashing one takes 2 µs, and no server that has restarted or taken over can be
without it.

All keys carry one hash tag, so that a cluster keeps them on one node.
"""

from typing import Final, NamedTuple

LEASE_MS: Final = 3000
WANT_MS: Final = 30_000


class Keys(NamedTuple):
    """Names of everything that one system keeps in Redis."""

    token: str  # counter:writer of whoever had the lease last; stays
    lease: str  # version:writer, there while that writer is alive; it counts whatever it says
    board: str  # hash: the snapshot, with its position
    stream: str  # the messages
    wants: str  # hash: gateway -> expiry and symbols

    @classmethod
    def of(cls, name: str) -> "Keys":
        """Return the keys of the system of that name."""
        return cls(*(f"{{{name}}}:{key}" for key in cls._fields))


# -> {counter or 0, 1 if the epoch may go on, run id, _pos, replicas, why not, _format where that cannot be read}
# A writer that another may still believe to be alive is waited for. That holds too for the first seconds of a server
# that has just started from a dump, which may be older than the lease of who wrote last: only where that was this very
# directory's writer, which is locked, or where nobody else can write (`alone`), it is not waited for. Nor on a server that
# remembers no writer at all: whoever it forgot finds its token gone and stops. A key expires by the wall clock of Redis: where
# that was set back, the lease of one who is dead would stand for as long, so what is left of it is cut to its length.
# Nor is a server taken for new that seems to have started later than now.
LEAD: Final = """
local writer, known, epoch, run, lease, alone = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local written, oldest, newest, lease_version = ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9]), ARGV[10]
local info = redis.call('INFO', 'server')
local here = string.match(info, 'run_id:(%w+)')
local up = tonumber(string.match(info, 'uptime_in_seconds:(-?%d+)'))
local replicas = tonumber(string.match(redis.call('INFO', 'replication'), 'connected_slaves:(%d+)') or '0')
local token = redis.call('GET', KEYS[1])
local pos = redis.call('HGET', KEYS[3], '_pos') or ''
local counter, holder = 0, ''
if token then counter, holder = string.match(token, '^(%d+):(.*)$') end
if not counter then return {0, 0, here, pos, replicas, 'the token is of a form that this program does not know'} end
local form = redis.call('HGET', KEYS[3], '_format')
local version = form and (tonumber(form) or 0) % 256
if form and (version < oldest or version > newest) then return {0, 0, here, pos, replicas, 'format', form} end
if holder ~= writer then
  if redis.call('EXISTS', KEYS[2]) == 1 then
    if redis.call('PTTL', KEYS[2]) > tonumber(lease) then redis.call('PEXPIRE', KEYS[2], lease) end
    return {0, 0, here, pos, replicas, 'writer ' .. holder .. ' holds the lease'}
  end
  if token and alone == '0' and up >= 0 and up <= lease / 1000 then
    return {0, 0, here, pos, replicas, 'Redis has just started, and its last writer may be alive'}
  end
end
local why = ''
if run ~= here then why = 'Redis has been started anew or another one took over'
elseif token ~= known .. ':' .. writer then why = 'the lease was acquired anew'
elseif string.sub(pos, 1, #epoch + 1) ~= epoch .. ':' or string.sub(pos, -#token - 1) ~= ':' .. token then
  why = 'the bus holds another epoch'
elseif form ~= written then why = 'the bus holds another version of its format' end
if why == '' then counter = known
else
  counter = math.max(counter, known) + 1
  redis.call('SET', KEYS[1], string.format('%d', counter) .. ':' .. writer)
end
redis.call('SET', KEYS[2], lease_version .. ':' .. writer, 'PX', lease)
return {tonumber(counter), why == '' and 1 or 0, here, pos, replicas, why}
"""

# -> 1, or 0 where another has it
RENEW: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[3] .. ':' .. string.match(ARGV[1], ':(.*)'), 'PX', ARGV[2])
return 1
"""

# Gives back what is still ours, so that whoever stands by need not wait.
RELEASE: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
"""

# ARGV: token, expected _pos, new _pos, most entries, n, n × (id, message), then names and values of the hash.
# -> 1, or the _pos that was found
PUBLISH: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 'token' end
local pos = redis.call('HGET', KEYS[3], '_pos') or ''
if pos ~= ARGV[2] then return pos end
local last = 5 + 2 * ARGV[5]
for i = 6, last, 2 do
  redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[4], ARGV[i], 'm', ARGV[i + 1])
end
for i = last + 1, #ARGV, 1000 do
  redis.call('HSET', KEYS[3], unpack(ARGV, i, math.min(i + 999, #ARGV)))
end
redis.call('HSET', KEYS[3], '_pos', ARGV[3])
return 1
"""

# ARGV: token, new _pos, id, then names and values of the hash. -> 1, or the _pos that is ahead
REPLACE: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 'token' end
if not pcall(redis.call, 'XADD', KEYS[4], ARGV[3], 'e', ARGV[2]) then
  return redis.call('HGET', KEYS[3], '_pos') or 'ahead'
end
redis.call('DEL', KEYS[3])
for i = 4, #ARGV, 1000 do
  redis.call('HSET', KEYS[3], unpack(ARGV, i, math.min(i + 999, #ARGV)))
end
redis.call('HSET', KEYS[3], '_pos', ARGV[2])
return 1
"""

# ARGV: gateway, symbols, milliseconds they are wanted, most gateways. By the clock of Redis, which all share.
WANT: Final = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if redis.call('HLEN', KEYS[1]) < tonumber(ARGV[4]) or redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%d ', now + ARGV[3]) .. ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
"""

# ARGV: the milliseconds that something is wanted. -> the symbols of every gateway whose wish stands; the others are
# forgotten, also one that would stand longer: the clock was set back since.
WANTED: Final = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local all, standing = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #all, 2 do
  local expiry, symbols = string.match(all[i + 1], '^(%d+) (.*)$')
  if tonumber(expiry) > now and tonumber(expiry) <= now + ARGV[1] then table.insert(standing, symbols) else redis.call('HDEL', KEYS[1], all[i]) end
end
return standing
"""
