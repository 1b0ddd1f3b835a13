-- Give back every lease of one consumer.
--
-- KEYS  1 feed, 2 leases
-- ARGV  1 group, 2 consumer

local feed, leases, group, consumer = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
if not group_info(feed, group) then return end

each_pending(feed, group, function(entry) redis.call('ZADD', leases, RELEASED, member(seq_of(entry[1]))) end, consumer)
