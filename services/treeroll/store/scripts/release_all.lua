-- Give back every lease of one consumer.
--
-- KEYS  1 feed, 2 leases
-- ARGV  1 group, 2 consumer

local feed, leases, group, consumer = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
if not group_info(feed, group) then return end

local PAGE, start = 1000, '-'
repeat
  local page = redis.call('XPENDING', feed, group, start, '+', PAGE, consumer)
  for _, entry in ipairs(page) do
    redis.call('ZADD', leases, RELEASED, member(tonumber(string.match(entry[1], '^%d+'))))
    start = '(' .. entry[1]
  end
until #page < PAGE
