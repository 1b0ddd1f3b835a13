-- Functions of all scripts about consumer groups; the loader puts them in front of each.
--
-- The group's own list of pending entries (PEL) is the truth about who holds an entry and how often it was delivered. The
-- leases zset adds the deadline: Redis knows only how long ago an entry was delivered, not for how long it was lent.

-- Write effects, not the script: Redis 6.2 refuses to write after TIME or XPENDING otherwise.
redis.replicate_commands()

local RELEASED = 0

local function now_us()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function deadline(lease_us)
  return string.format('%.0f', now_us() + lease_us)
end

local function entry_id(seq)
  return string.format('%d-0', seq)
end

-- Fixed width, so that equal deadlines are taken in feed order.
local function member(seq)
  return string.format('%016d', seq)
end

-- {delivered = seq of the last entry handed out, pending = entries not acknowledged}; nil if there is no such group.
local function group_info(feed, group)
  if redis.call('EXISTS', feed) == 0 then return nil end
  for _, fields in ipairs(redis.call('XINFO', 'GROUPS', feed)) do
    local info = {}
    for i = 1, #fields, 2 do info[fields[i]] = fields[i + 1] end
    if info.name == group then
      return {delivered = tonumber(string.match(info['last-delivered-id'], '^%d+')), pending = info.pending}
    end
  end
  return nil
end

-- {id, consumer, idle in ms, deliveries} of an entry handed out and not acknowledged; nil for any other.
local function pending(feed, group, seq)
  return redis.call('XPENDING', feed, group, entry_id(seq), entry_id(seq), 1)[1]
end

-- KEYS  1 feed, 2 leases, 3 redelivered
-- How one lease stands: 'held' (also if expired, while nobody else took the entry), 'released', 'acked' or 'gone'.
local function standing(group, info, seq, delivery, consumer)
  if not info or seq > info.delivered then return 'gone' end
  local entry = pending(KEYS[1], group, seq)
  if not entry then
    local acked = tonumber(redis.call('HGET', KEYS[3], seq) or 1)
    return acked == delivery and 'acked' or 'gone'
  end
  if entry[2] ~= consumer or entry[4] ~= delivery then return 'gone' end
  return tonumber(redis.call('ZSCORE', KEYS[2], member(seq)) or 1) == RELEASED and 'released' or 'held'
end

-- Calls visit(how it stands, seq, delivery) for the leases in ARGV[first ...] (seq, delivery, consumer each); returns the
-- positions, from 0, of those for which it returned false.
local function refused(group, first, visit)
  local info = group_info(KEYS[1], group)
  local positions = {}
  for at = first, #ARGV, 3 do
    local seq, delivery = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
    if not visit(standing(group, info, seq, delivery, ARGV[at + 2]), seq, delivery) then
      positions[#positions + 1] = (at - first) / 3
    end
  end
  return positions
end

