-- Remove what a run has in a part of the log of ticks, unless a newer owner has opened the store. The log goes when nothing is left.
--
-- KEYS  1 owner, 2 ticks
-- ARGV  1 epoch, 2 run id, 3 place behind which the part begins, 4 entries of it
-- Returns {0, place behind which the next part begins, or -1 for none}, or {epoch of the newer owner, -1}.

redis.replicate_commands()

local epoch = tonumber(redis.call('HGET', KEYS[1], 'epoch') or 0)
if epoch > tonumber(ARGV[1]) then return {epoch, -1} end

local own, last = {}, -1
for _, entry in ipairs(redis.call('XRANGE', KEYS[2], string.format('(%.0f-0', tonumber(ARGV[3])), '+', 'COUNT', ARGV[4])) do
  last = tonumber(string.match(entry[1], '^%d+'))
  if entry[2][3] == 'r' and entry[2][4] == ARGV[2] then own[#own + 1] = entry[1] end
end
if #own > 0 then redis.call('XDEL', KEYS[2], unpack(own)) end
if last < 0 and redis.call('XLEN', KEYS[2]) == 0 then redis.call('UNLINK', KEYS[2]) end
return {0, last}
