-- Restart the clocks of leases.
--
-- KEYS  1 feed, 2 leases, 3 redelivered
-- ARGV  1 group, 2 lease in microseconds, then seq, delivery, consumer of each lease
-- Returns the positions, from 0, of leases that moved on or are unknown.

local until_us = deadline(ARGV[2])
return refused(ARGV[1], 3, function(how, seq)
  if how == 'held' then redis.call('ZADD', KEYS[2], until_us, member(seq)) end
  return how == 'held'
end)
