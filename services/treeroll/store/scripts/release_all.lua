-- Give back every lease of one consumer, which is forgotten: it may come again.
--
-- KEYS  1 feed, 2 leases
-- ARGV  1 group, 2 consumer

local feed, leases, group, consumer = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
if not group_info(feed, group) then return end

-- Redis keeps a consumer for ever otherwise, and forgets what is still its own with it. JUSTID: it is no delivery.
each_pending(feed, group, function(entry)
  redis.call('ZADD', leases, RELEASED, member(seq_of(entry[1])))
  redis.call('XCLAIM', feed, group, NOBODY, 0, entry[1], 'JUSTID')
end, consumer)
redis.call('XGROUP', 'DELCONSUMER', feed, group, consumer)
