-- What a group has been given, and has not acknowledged of it.
--
-- KEYS  1 feed
-- ARGV  1 group
-- Returns entries handed out at least once, then the seq of each of these that is not acknowledged, ascending.

local feed, group = KEYS[1], ARGV[1]
local info = group_info(feed, group)
if not info then return {0} end

local PAGE, start, found = 1000, '-', {info.delivered}
repeat
  local page = redis.call('XPENDING', feed, group, start, '+', PAGE)
  for _, entry in ipairs(page) do
    found[#found + 1] = tonumber(string.match(entry[1], '^%d+'))
    start = '(' .. entry[1]
  end
until #page < PAGE
return found
