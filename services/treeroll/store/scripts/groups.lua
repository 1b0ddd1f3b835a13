-- Consumer groups of a feed.
--
-- KEYS  1 feed
-- Returns their names; none if the feed does not exist yet.

if redis.call('EXISTS', KEYS[1]) == 0 then return {} end
local names = {}
for _, fields in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  for i = 1, #fields, 2 do
    if fields[i] == 'name' then names[#names + 1] = fields[i + 1] end
  end
end
return names
