-- Give a group another past: a new epoch, in which exactly these entries are acknowledged and nothing is on lease.
--
-- KEYS  1 feed, 2 leases, 3 redelivered, 4 group, 5 steps, 6 expired, 7 feeds, 8 opened
-- ARGV  1 group, 2 run id, 3 id of this move, 4 global batches that are acknowledged, 5 1: only unless all is so already, 6 number of owners, and
--       for each its epoch and the last entry that came under it, then first and last of each range of entries, ascending
-- Returns {'OK'}, also if this move was the group's last; {'BEYOND', entries} if the feed does not have all of them;
-- {'LOST', last, left} if a later owner found only so many entries of those that came under an earlier one;
-- {'MANY', count} for a new group that is one too many; {'EXPIRED', count} if entries that would come again have expired.

local feed, leases, group = KEYS[1], KEYS[2], ARGV[1]
if redis.call('HGET', KEYS[4], 'move') == ARGV[3] then return {'OK'} end

local RANGES = 7 + 2 * tonumber(ARGV[6])
local entries = tonumber(redis.call('HGET', KEYS[7], ARGV[2]) or 0)
local last = tonumber(ARGV[#ARGV >= RANGES and #ARGV or 0] or 0)
if last > entries then return {'BEYOND', entries} end
local marks = redis.call('HGET', KEYS[8], ARGV[2]) or ''
for at = 7, RANGES - 1, 2 do
  for epoch, length in string.gmatch(marks, '(%d+):(%d+)') do
    if tonumber(epoch) > tonumber(ARGV[at]) and tonumber(length) < tonumber(ARGV[at + 1]) then
      return {'LOST', tonumber(ARGV[at + 1]), tonumber(length)}
    end
  end
end
local expired = tonumber(redis.call('HGET', KEYS[6], ARGV[2]) or 0)
if expired > 0 and (#ARGV < RANGES or tonumber(ARGV[RANGES]) > 1 or tonumber(ARGV[RANGES + 1]) < expired) then
  return {'EXPIRED', expired}
end

-- Whether exactly these entries and batches are acknowledged.
local function is_there()
  local info = group_info(feed, group)
  if not info or last > info.delivered or number('through') ~= tonumber(ARGV[4]) then return false end
  local named = 0
  for at = RANGES, #ARGV, 2 do named = named + tonumber(ARGV[at + 1]) - tonumber(ARGV[at]) + 1 end
  if named ~= info.delivered - info.pending then return false end
  local at, same = RANGES, true
  each_pending(feed, group, function(entry)
    local seq = seq_of(entry[1])
    while at < #ARGV and tonumber(ARGV[at + 1]) < seq do at = at + 2 end
    if at < #ARGV and tonumber(ARGV[at]) <= seq then same = false end
  end)
  return same
end
if ARGV[5] == '1' and is_there() then return {'OK'} end
if groups_of(feed) >= MAX_GROUPS and not group_info(feed, group) then return {'MANY', groups_of(feed)} end

redis.call('HINCRBY', KEYS[4], 'epoch', 1)
redis.call('HSET', KEYS[4], 'move', ARGV[3])
redis.call('DEL', leases, KEYS[3], KEYS[5])
if ARGV[4] ~= '0' then redis.call('HSET', KEYS[5], 'through', ARGV[4], 'last', ARGV[4]) end
if redis.call('EXISTS', feed) == 1 then redis.call('XGROUP', 'DESTROY', feed, group) end
redis.call('XGROUP', 'CREATE', feed, group, entry_id(last), 'MKSTREAM')

-- What is left out before the last: as if it had been given back. Its next delivery is the first of this epoch.
local ids = {}
local function claim()
  if #ids == 0 then return end
  local command = {feed, group, NOBODY, 0}
  for _, id in ipairs(ids) do command[#command + 1] = id end
  for _, word in ipairs({'RETRYCOUNT', 0, 'FORCE', 'JUSTID'}) do command[#command + 1] = word end
  redis.call('XCLAIM', unpack(command))
  ids = {}
end
local seq = 1
for at = RANGES, #ARGV, 2 do
  while seq < tonumber(ARGV[at]) do
    redis.call('ZADD', leases, RELEASED, member(seq))
    ids[#ids + 1] = entry_id(seq)
    if #ids == 1000 then claim() end
    seq = seq + 1
  end
  seq = tonumber(ARGV[at + 1]) + 1
end
claim()
return {'OK'}
