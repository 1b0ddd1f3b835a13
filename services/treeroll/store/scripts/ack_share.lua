-- A rank is done with its share of a global batch. Once all are, its entries are acknowledged.
--
-- KEYS  1 feed, 2 leases, 3 redelivered, 4 group, 5 steps
-- ARGV  1 group, 2 its epoch, 3 number of the batch, 4 rank, 5 world
-- Returns {'OK', 1 if all ranks are done}, {'WORLD', world} if so many others share it; or a refusal, see group.lua: {'FAR', last}
-- also for one that was not taken.

local feed, leases, steps, group, step = KEYS[1], KEYS[2], KEYS[5], ARGV[1], tonumber(ARGV[3])
local refusal = step_refused(step, tonumber(ARGV[2]))
if refusal then return refusal[1] == 'DONE' and {'OK', 1} or refusal end
local world = redis.call('HGET', steps, step .. ':world')
if not world then return {'FAR', number('last')} end
if world ~= ARGV[5] then return {'WORLD', tonumber(world)} end

local acked = redis.call('HGET', steps, step .. ':acked')
if not has_acked(step, ARGV[4], ARGV[5]) then
  acked = acked and acked .. ' ' .. ARGV[4] or ARGV[4]
  redis.call('HSET', steps, step .. ':acked', acked)
end
local done = 0
for _ in string.gmatch(acked, '%d+') do done = done + 1 end
if done < tonumber(world) then return {'OK', 0} end

for seq in string.gmatch(redis.call('HGET', steps, step .. ':seqs'), '%d+') do
  redis.call('XACK', feed, group, entry_id(seq))
  redis.call('ZREM', leases, member(seq))
end
redis.call('HDEL', steps, step, step .. ':world', step .. ':seqs', step .. ':acked')
redis.call('HSET', steps, step .. ':done', 1)
local through = number('through')
while redis.call('HDEL', steps, (through + 1) .. ':done') == 1 do through = through + 1 end
redis.call('HSET', steps, 'through', through)
return {'OK', 1}
