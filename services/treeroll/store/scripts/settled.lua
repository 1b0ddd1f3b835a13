-- How many entries at the beginning of a feed every group has acknowledged.
--
-- KEYS  1 feed
-- Returns the seq of the last of them; 0 if there is no group, or one that has not acknowledged the first entry.

if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local settled
for _, fields in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local info = {}
  for i = 1, #fields, 2 do info[fields[i]] = fields[i + 1] end
  local upto = tonumber(string.match(info['last-delivered-id'], '^%d+'))
  if info.pending > 0 then
    upto = tonumber(string.match(redis.call('XPENDING', KEYS[1], info.name)[2], '^%d+')) - 1
  end
  settled = math.min(settled or upto, upto)
end
return settled or 0
