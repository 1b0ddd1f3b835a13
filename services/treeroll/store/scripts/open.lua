-- Take the store over: earlier owners can write no more.
--
-- KEYS  1 owner
-- Returns the new owner's epoch.

local epoch = redis.call('HINCRBY', KEYS[1], 'epoch', 1)
redis.call('HSET', KEYS[1], 'commit', 0)
return epoch
