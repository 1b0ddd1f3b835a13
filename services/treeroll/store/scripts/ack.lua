-- Finish leases for good. Once more under the same lease is a no-op.
--
-- KEYS  1 feed, 2 leases, 3 redelivered, 4 group, 5 steps
-- ARGV  1 group, then epoch, seq, delivery, consumer of each lease
-- Returns the positions, from 0, of leases that moved on or are unknown; {'MOVED', epoch} for leases of an earlier epoch.

return moved(2) or refused(ARGV[1], 2, function(how, seq, delivery)
  if how == 'held' then
    redis.call('XACK', KEYS[1], ARGV[1], entry_id(seq))
    redis.call('ZREM', KEYS[2], member(seq))
    if delivery > 1 then redis.call('HSET', KEYS[3], seq, delivery) end
  end
  return how == 'held' or how == 'acked'
end)
