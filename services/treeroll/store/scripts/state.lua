-- Where a group stands.
--
-- KEYS  1 feeds, 2 feed, 3 leases, 4 owner
-- ARGV  1 run id, 2 group, 3 tick
-- Returns {entries in the feed, entries handed out at least once, of these not acknowledged, of these expired or given back}.

local entries = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0)
local info = group_info(KEYS[2], ARGV[2])
if not info then return {entries, 0, 0, 0} end
local expired = redis.call('ZCOUNT', KEYS[3], '-inf', decimal(now_us(KEYS[4], ARGV[3])))
return {entries, info.delivered, info.pending, expired}
