-- A global batch as it is.
--
-- KEYS  1 feed, 2 leases, 3 redelivered, 4 group, 5 steps
-- ARGV  1 the group's epoch, 2 number of the batch; 0: the first that the rank has not acknowledged, 3 rank, 4 world
-- Returns {'OK', number} for one that was not taken, {'OK', number, its world, its record}; or a refusal, see group.lua.

local step = tonumber(ARGV[2])
if step == 0 then
  step = number('through') + 1
  while has_acked(step, ARGV[3], ARGV[4]) do step = step + 1 end
end
return step_refused(step, tonumber(ARGV[1])) or step_found(step)
