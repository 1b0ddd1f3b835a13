-- Since when a run has ended and nobody asked for it, in the owner's time, which goes on from owner to owner and stands still
-- without one: a service that was away for long does not delete what nobody could ask for. Fenced.
--
-- KEYS  1 owner, 2 ended
-- ARGV  1 epoch, 2 run id, 3 tick, 4 1: it begins now
-- Returns {0, microseconds}, 0 if it begins now; {the epoch of the newer owner}.

local epoch = tonumber(redis.call('HGET', KEYS[1], 'epoch') or 0)
if epoch > tonumber(ARGV[1]) then return {epoch} end
local since = redis.call('HGET', KEYS[2], ARGV[2])
if ARGV[4] == '1' or not since then
  redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
  return {0, 0}
end
return {0, math.max(tonumber(ARGV[3]) - tonumber(since), 0)}
