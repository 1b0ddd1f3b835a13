-- Where a group stands; make it on first use.
--
-- KEYS  1 feed, 2 leases, 3 redelivered, 4 group, 5 steps, 6 expired, 7 feeds, 8 opened
-- ARGV  1 group, 2 run id, 3 'first' or 'latest': where a new group begins
-- Returns {epoch, what `opened` says of the run, global batches that are acknowledged one after the other, those that are out, seq
-- of the last entry handed out, then of each entry that was handed out and not acknowledged}; {'EXPIRED', count} for a new group that cannot have all,
-- {'MANY', count} for one too many.

local info, refusal = opened(ARGV[1], ARGV[2], ARGV[3] == 'latest')
if not info then return refusal end
local out = 0
for step = number('through') + 1, number('last') do
  if redis.call('HEXISTS', KEYS[5], step) == 1 then out = out + 1 end
end
local found = {group_epoch(KEYS[4]), redis.call('HGET', KEYS[8], ARGV[2]) or '', number('through'), out, info.delivered}
each_pending(KEYS[1], ARGV[1], function(entry) found[#found + 1] = seq_of(entry[1]) end)
return found
