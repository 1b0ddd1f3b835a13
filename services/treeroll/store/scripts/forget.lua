-- Remove what is left of a run whose trees are removed, unless a newer owner has opened the store.
--
-- KEYS  1 owner, 2 runs, 3 feeds, 4 expired, 5 ended, 6 opened, then the run's own keys
-- ARGV  1 epoch, 2 run id
-- Returns 0, or the epoch of the newer owner.

local epoch = tonumber(redis.call('HGET', KEYS[1], 'epoch') or 0)
if epoch > tonumber(ARGV[1]) then return epoch end
for key = 2, 6 do redis.call('HDEL', KEYS[key], ARGV[2]) end
for key = 7, #KEYS do redis.call('DEL', KEYS[key]) end
return 0
