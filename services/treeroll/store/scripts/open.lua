-- Take the store over: earlier owners can write no more.
--
-- KEYS  1 owner
-- ARGV  1 who the new owner is, for people
-- Returns the new owner's epoch, and the tick from which it goes on, in microseconds. A store's first one is the server's clock.

-- Write effects, not the script: Redis 6.2 refuses to write after TIME otherwise.
redis.replicate_commands()

local epoch, tick = redis.call('HINCRBY', KEYS[1], 'epoch', 1), redis.call('HGET', KEYS[1], 'tick')
if not tick then
  local time = redis.call('TIME')
  tick = string.format('%.0f', time[1] * 1000000 + time[2])
end
redis.call('HSET', KEYS[1], 'commit', 0, 'tick', tick, 'name', ARGV[1])
return {epoch, tonumber(tick)}
