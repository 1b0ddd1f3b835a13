-- Restart the clocks of leases.
--
-- KEYS  1 feed, 2 leases, 3 redelivered, 4 group, 5 steps, 6 owner
-- ARGV  1 group, 2 lease in microseconds, 3 tick, then epoch, seq, delivery, consumer of each lease
-- Returns the positions, from 0, of leases that moved on or are unknown; {'MOVED', epoch} for leases of an earlier epoch.

local until_us = decimal(kept_now_us(KEYS[6], ARGV[3]) + ARGV[2])
return moved(4) or refused(ARGV[1], 4, function(how, seq)
  if how == 'held' then redis.call('ZADD', KEYS[2], until_us, member(seq)) end
  return how == 'held'
end)
