-- Say how the service is.
--
-- KEYS  1 owner, 2 status, 3 points
-- ARGV  1 epoch, 2 snapshot, 3 point, 4 how many points are kept, about
-- Returns 0; the epoch of a newer owner, or -1 for an epoch that the store does not know: then nothing is written.

-- Write effects, not the script: the ids of points are the server's times.
redis.replicate_commands()

local epoch = tonumber(redis.call('HGET', KEYS[1], 'epoch') or 0)
if epoch > tonumber(ARGV[1]) then return epoch end
if epoch < tonumber(ARGV[1]) then return -1 end
redis.call('SET', KEYS[2], ARGV[2])
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[4], '*', 'p', ARGV[3])
return 0
