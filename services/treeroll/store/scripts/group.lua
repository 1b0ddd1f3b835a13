-- Functions of all scripts about consumer groups; the loader puts them in front of each.
--
-- The group's own list of pending entries (PEL) is the truth about who holds an entry and how often it was delivered. The
-- leases zset adds the deadline: Redis knows only how long ago an entry was delivered, not for how long it was lent.
-- Deadlines are by the owner's tick, which runs while there is an owner and never jumps, as the server's clock may.

-- Write effects, not the script: Redis 6.2 refuses to write after XPENDING otherwise.
redis.replicate_commands()

local RELEASED = 0
local IN_STEP = '+inf'
-- Holds what nobody has: entries of global batches, and what a move left out. No consumer has an empty name.
local NOBODY = ''
-- Of one run. A trainer has one; each costs a little with every entry that ends.
local MAX_GROUPS = 1000

local function decimal(number)
  return string.format('%.0f', number)
end

-- The owner's tick, in microseconds: as it says itself, or as it was stored last for callers that are not the owner (0).
local function now_us(owner, said)
  return math.max(tonumber(said), tonumber(redis.call('HGET', owner, 'tick') or 0))
end

-- The same to set deadlines by. It is stored: the next owner goes on from there, and must not be behind any lease.
local function kept_now_us(owner, said)
  local now = now_us(owner, said)
  if now > 0 then redis.call('HSET', owner, 'tick', decimal(now)) end
  return now
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

-- How many groups a feed has.
local function groups_of(feed)
  return redis.call('EXISTS', feed) == 1 and #redis.call('XINFO', 'GROUPS', feed) or 0
end

-- How often the group was moved.
local function group_epoch(key)
  return tonumber(redis.call('HGET', key, 'epoch') or 0)
end

-- KEYS  1 feed, 6 expired, 7 feeds
-- The group, made on first use before the first entry, or after the last one; or nil and {'EXPIRED', count} for a new group
-- that cannot have all entries, {'MANY', count} for one too many.
local function opened(group, run_id, latest)
  local info = group_info(KEYS[1], group)
  if info then return info end
  local others = groups_of(KEYS[1])
  if others >= MAX_GROUPS then return nil, {'MANY', others} end
  local expired, start = redis.call('HGET', KEYS[6], run_id), 0
  if latest then
    start = tonumber(redis.call('HGET', KEYS[7], run_id) or 0)
  elseif expired then
    return nil, {'EXPIRED', tonumber(expired)}
  end
  redis.call('XGROUP', 'CREATE', KEYS[1], group, entry_id(start), 'MKSTREAM')
  return {delivered = start, pending = 0}
end

-- KEYS  5 steps
-- A number that is kept of a group's global batches.
local function number(field)
  return tonumber(redis.call('HGET', KEYS[5], field) or 0)
end

-- Calls visit(entry) for the pending entries of a group, or of one of its consumers; entries as XPENDING gives them.
local function each_pending(feed, group, visit, ...)
  local PAGE, start = 1000, '-'
  repeat
    local page = redis.call('XPENDING', feed, group, start, '+', PAGE, ...)
    for _, entry in ipairs(page) do
      visit(entry)
      start = '(' .. entry[1]
    end
  until #page < PAGE
end

local function seq_of(id)
  return tonumber(string.match(id, '^%d+'))
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

-- KEYS  4 group
-- Calls visit(how it stands, seq, delivery) for the leases in ARGV[first ...] (epoch, seq, delivery, consumer each); returns
-- the positions, from 0, of those for which it returned false.
local function refused(group, first, visit)
  local info, epoch = group_info(KEYS[1], group), group_epoch(KEYS[4])
  local positions = {}
  for at = first, #ARGV, 4 do
    local seq, delivery, how = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), 'gone'
    if tonumber(ARGV[at]) == epoch then how = standing(group, info, seq, delivery, ARGV[at + 3]) end
    if not visit(how, seq, delivery) then positions[#positions + 1] = (at - first) / 4 end
  end
  return positions
end

-- {'MOVED', epoch} if one of these leases is of an earlier epoch than the group.
local function moved(first)
  local epoch = group_epoch(KEYS[4])
  for at = first, #ARGV, 4 do
    if tonumber(ARGV[at]) < epoch then return {'MOVED', epoch} end
  end
  return nil
end

-- KEYS  4 group, 5 steps
-- Why a global batch cannot be had: {'MOVED', epoch} in another epoch, {'DONE'} once all have acknowledged it, {'FAR', last}
-- after one that was not taken; nil if it can.
local function step_refused(step, epoch)
  if epoch ~= group_epoch(KEYS[4]) then return {'MOVED', group_epoch(KEYS[4])} end
  if step <= number('through') or redis.call('HEXISTS', KEYS[5], step .. ':done') == 1 then return {'DONE'} end
  if step > number('last') + 1 then return {'FAR', number('last')} end
  return nil
end

-- {'OK', step, world, record}; without the last two if it was not taken.
local function step_found(step)
  local found = redis.call('HMGET', KEYS[5], step .. ':world', step)
  if not found[2] then return {'OK', step} end
  return {'OK', step, tonumber(found[1]), found[2]}
end

-- Whether a rank of so many is done with its share of a batch, or all ranks are.
local function has_acked(step, rank, world)
  if redis.call('HEXISTS', KEYS[5], step .. ':done') == 1 then return true end
  local found = redis.call('HMGET', KEYS[5], step .. ':world', step .. ':acked')
  if found[1] ~= world or not found[2] then return false end
  return string.find(' ' .. found[2] .. ' ', ' ' .. rank .. ' ', 1, true) ~= nil
end
