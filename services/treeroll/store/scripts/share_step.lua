-- Give a global batch that nobody has acknowledged another world and record.
--
-- KEYS  1 feed, 2 leases, 3 redelivered, 4 group, 5 steps
-- ARGV  1 the group's epoch, 2 number of the batch, 3 the world that it had, 4 world, 5 record
-- Returns {'OK', number, world, record} of the batch as it is, {'ACKED', world} if a rank is done with its share; or a refusal,
-- see group.lua.

local step = tonumber(ARGV[2])
local refusal = step_refused(step, tonumber(ARGV[1]))
if refusal then return refusal end
local there = step_found(step)
if not there[4] or there[3] ~= tonumber(ARGV[3]) then return there end
if redis.call('HEXISTS', KEYS[5], step .. ':acked') == 1 then return {'ACKED', there[3]} end
redis.call('HSET', KEYS[5], step, ARGV[5], step .. ':world', ARGV[4])
return step_found(step)
