-- Take entries for a global batch.
--
-- KEYS  1 feed, 2 leases, 3 redelivered, 4 group, 5 steps, 6 owner
-- ARGV  1 group, 2 its epoch, 3 number of the batch, 4 world, 5 record, 6 tick, then seqs, in the order of `available`
-- Returns {'OK', number, world, record} of the batch as it is, and 1 if this call took it; {'CHANGED'} if other entries are
-- available by now; or a refusal,
-- see group.lua.

local FIRST = 7
local feed, leases, group, step = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[3])
local refusal = step_refused(step, tonumber(ARGV[2]))
if refusal then return refusal end
local there = step_found(step)
if there[4] then return there end

local info, now = group_info(feed, group), now_us(KEYS[6], ARGV[6])
if not info then return {'CHANGED'} end
local old, new = {}, 0
for at = FIRST, #ARGV do
  local seq = tonumber(ARGV[at])
  if seq > info.delivered then
    new = new + 1
    if seq ~= info.delivered + new then return {'CHANGED'} end
  else
    local score = redis.call('ZSCORE', leases, member(seq))
    if not score or tonumber(score) > now then return {'CHANGED'} end
    old[#old + 1] = seq
  end
end
local newest = redis.call('XREVRANGE', feed, '+', '-', 'COUNT', 1)[1]
if new > 0 and (not newest or seq_of(newest[1]) < info.delivered + new) then return {'CHANGED'} end

for _, seq in ipairs(old) do redis.call('XCLAIM', feed, group, NOBODY, 0, entry_id(seq)) end
if new > 0 then redis.call('XREADGROUP', 'GROUP', group, NOBODY, 'COUNT', new, 'STREAMS', feed, '>') end
for at = FIRST, #ARGV do redis.call('ZADD', leases, IN_STEP, member(tonumber(ARGV[at]))) end
redis.call('HSET', KEYS[5], 'last', step, step, ARGV[5], step .. ':world', ARGV[4],
  step .. ':seqs', table.concat(ARGV, ' ', FIRST))
return {'OK', step, tonumber(ARGV[4]), ARGV[5], 1}
