-- Remove keys of a run, unless a newer owner has opened the store. Removing them again is a no-op.
--
-- KEYS  1 owner, 2 expired, 3 feed, then keys to delete
-- ARGV  1 epoch, 2 run id, 3 seq up to which the feed's entries go too and are counted as expired; 0: none
-- Returns 0, the epoch of the newer owner, or -1 for entries that a group has not acknowledged.

redis.replicate_commands()

local epoch = tonumber(redis.call('HGET', KEYS[1], 'epoch') or 0)
if epoch > tonumber(ARGV[1]) then return epoch end

local upto = tonumber(ARGV[3])
if upto > 0 then
  for _, fields in ipairs(redis.call('XINFO', 'GROUPS', KEYS[3])) do
    local info = {}
    for i = 1, #fields, 2 do info[fields[i]] = fields[i + 1] end
    if tonumber(string.match(info['last-delivered-id'], '^%d+')) < upto then return -1 end
    if info.pending > 0 then
      local first = redis.call('XPENDING', KEYS[3], info.name)[2]
      if tonumber(string.match(first, '^%d+')) <= upto then return -1 end
    end
  end
end

-- Lua's C stack holds 8000 values.
local CHUNK = 4000
for first = 4, #KEYS, CHUNK do
  redis.call('UNLINK', unpack(KEYS, first, math.min(first + CHUNK - 1, #KEYS)))
end
if upto > tonumber(redis.call('HGET', KEYS[2], ARGV[2]) or 0) then
  redis.call('XTRIM', KEYS[3], 'MINID', string.format('%d-0', upto + 1))
  redis.call('HSET', KEYS[2], ARGV[2], upto)
end
return 0
