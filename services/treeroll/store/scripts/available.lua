-- What `lease` would lend, and who else may give back.
--
-- KEYS  1 feed, 2 leases, 3 redelivered, 4 group, 5 steps, 6 expired, 7 feeds, 8 owner
-- ARGV  1 group, 2 run id, 3 the group's epoch, 4 count (> 0), 5 tick
-- Returns a flat list: entries on lease to consumers, then seq and tree id of each available entry; {'EXPIRED', count} for a
-- new group that cannot have all entries; {'MANY', count} for one too many; {'MOVED', epoch} if the group has another epoch.

local feed, leases, count = KEYS[1], KEYS[2], tonumber(ARGV[4])
local info, refusal = opened(ARGV[1], ARGV[2])
if not info then return refusal end
local epoch = group_epoch(KEYS[4])
if tonumber(ARGV[3]) ~= epoch then return {'MOVED', epoch} end

local now = decimal(now_us(KEYS[8], ARGV[5]))
local found = {redis.call('ZCOUNT', leases, '(' .. now, '(' .. IN_STEP)}
local function add(entries)
  for _, entry in ipairs(entries) do
    found[#found + 1] = seq_of(entry[1])
    found[#found + 1] = entry[2][2]
    count = count - 1
  end
end
for _, expired in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', now, 'LIMIT', 0, count)) do
  local id = entry_id(tonumber(expired))
  add(redis.call('XRANGE', feed, id, id))
end
if count > 0 then add(redis.call('XRANGE', feed, '(' .. entry_id(info.delivered), '+', 'COUNT', count)) end
return found
