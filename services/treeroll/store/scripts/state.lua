-- Where a group stands.
--
-- KEYS  1 feeds, 2 feed, 3 leases
-- ARGV  1 run id, 2 group
-- Returns {entries in the feed, entries handed out at least once, of these not acknowledged, of these expired or given back}.

local entries = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0)
local info = group_info(KEYS[2], ARGV[2])
if not info then return {entries, 0, 0, 0} end
local expired = redis.call('ZCOUNT', KEYS[3], '-inf', string.format('%.0f', now_us()))
return {entries, info.delivered, info.pending, expired}
