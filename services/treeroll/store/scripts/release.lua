-- Give leases back. Once more, before somebody took the entry, is a no-op.
--
-- KEYS  1 feed, 2 leases, 3 redelivered, 4 group, 5 steps
-- ARGV  1 group, then epoch, seq, delivery, consumer of each lease
-- Returns the positions, from 0, of leases that moved on or are unknown.

return refused(ARGV[1], 2, function(how, seq)
  if how == 'held' then redis.call('ZADD', KEYS[2], RELEASED, member(seq)) end
  return how == 'held' or how == 'released'
end)
