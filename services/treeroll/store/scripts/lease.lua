-- Lend entries to a consumer: first those whose lease expired or was given back, then new ones.
--
-- KEYS  1 feed, 2 leases, 3 redelivered, 4 group, 5 steps, 6 expired, 7 feeds, 8 owner
-- ARGV  1 group, 2 consumer, 3 count (> 0), 4 lease in microseconds, 5 run id, 6 the group's epoch; '': any, 7 tick
-- Returns a flat list: the group's epoch, then seq, delivery, tree id of each; {'EXPIRED', count} for a new group that
-- cannot have all entries; {'MANY', count} for one too many; {'MOVED', epoch} if the group has another epoch.

local feed, leases = KEYS[1], KEYS[2]
local group, consumer, count = ARGV[1], ARGV[2], tonumber(ARGV[3])
local info, refusal = opened(group, ARGV[5])
if not info then return refusal end

local epoch = group_epoch(KEYS[4])
if ARGV[6] ~= '' and tonumber(ARGV[6]) ~= epoch then return {'MOVED', epoch} end

local now = kept_now_us(KEYS[8], ARGV[7])
local until_us = decimal(now + ARGV[4])
local lent, lent_count = {epoch}, 0

local function lend(entry, delivery)
  local seq = seq_of(entry[1])
  redis.call('ZADD', leases, until_us, member(seq))
  lent[#lent + 1] = seq
  lent[#lent + 1] = delivery
  lent[#lent + 1] = entry[2][2]
  lent_count = lent_count + 1
end

for _, expired in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', decimal(now), 'LIMIT', 0, count)) do
  local seq = tonumber(expired)
  -- Without JUSTID: this is a delivery, and counts as one.
  local entry = redis.call('XCLAIM', feed, group, consumer, 0, entry_id(seq))[1]
  if entry then
    lend(entry, pending(feed, group, seq)[4])
  else
    -- Trimmed away, or acknowledged behind our back: nothing is left to lend.
    redis.call('XACK', feed, group, entry_id(seq))
    redis.call('ZREM', leases, expired)
  end
end

if lent_count < count then
  local read = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', count - lent_count, 'STREAMS', feed, '>')
  for _, entry in ipairs(read and read[1][2] or {}) do lend(entry, 1) end
end
return lent
