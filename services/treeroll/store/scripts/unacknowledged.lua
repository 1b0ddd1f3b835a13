-- What a group has been given, and has not acknowledged of it.
--
-- KEYS  1 feed
-- ARGV  1 group
-- Returns entries handed out at least once, then the seq of each of these that is not acknowledged, ascending.

local feed, group = KEYS[1], ARGV[1]
local info = group_info(feed, group)
if not info then return {0} end

local found = {info.delivered}
each_pending(feed, group, function(entry) found[#found + 1] = seq_of(entry[1]) end)
return found
