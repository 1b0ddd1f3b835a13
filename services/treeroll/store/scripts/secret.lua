-- The store's secret, made if there is none.
--
-- KEYS  1 secret
-- ARGV  1 what it is to be, if there is none
-- Returns it.

redis.call('HSETNX', KEYS[1], 'key', ARGV[1])
return redis.call('HGET', KEYS[1], 'key')
