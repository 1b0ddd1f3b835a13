-- Be heard by who stands by, beside commits: nothing else changes.
--
-- KEYS  1 owner
-- ARGV  1 epoch
-- Returns 0; the epoch of a newer owner, or -1 for an epoch that the store does not know: then nothing is written.

local epoch = tonumber(redis.call('HGET', KEYS[1], 'epoch') or 0)
if epoch > tonumber(ARGV[1]) then return epoch end
if epoch < tonumber(ARGV[1]) then return -1 end
redis.call('HINCRBY', KEYS[1], 'beats', 1)
return 0
