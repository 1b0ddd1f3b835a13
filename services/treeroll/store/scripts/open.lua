-- Take the store over: earlier owners can write no more.
--
-- KEYS  1 owner, 2 feeds, 3 opened
-- ARGV  1 who the new owner is, for people; 2 the epoch of an owner that found that the store went back in time, or 0: the new
--       epoch is larger than that, and begins a new line; 3 the schema that it knows, 4 its version, for people; 5 to 7 epoch,
--       commit and beats of the owner that was heard last, all 0 if there was none: another one is not taken over from. 5 is -1 for whoever it is
-- Returns {0, schema, version} of a newer version that has written here; {-1, epoch, name} of an owner that was heard since; or the new owner's epoch, and the tick from which it goes on, in microseconds. A store's first one is the server's clock.

-- Write effects, not the script: Redis 6.2 refuses to write after TIME otherwise.
redis.replicate_commands()

local schema = tonumber(redis.call('HGET', KEYS[1], 'schema') or 0)
if schema > tonumber(ARGV[3]) then return {0, schema, redis.call('HGET', KEYS[1], 'version') or ''} end

local heard = redis.call('HMGET', KEYS[1], 'epoch', 'commit', 'beats')
if tonumber(ARGV[5]) >= 0 then
  for part = 1, 3 do
    if (tonumber(heard[part]) or 0) ~= tonumber(ARGV[4 + part]) then
      return {-1, tonumber(heard[1]) or 0, redis.call('HGET', KEYS[1], 'name') or ''}
    end
  end
end

local stored, after = tonumber(redis.call('HGET', KEYS[1], 'epoch') or 0), tonumber(ARGV[2])
local epoch, tick = math.max(stored, after) + 1, redis.call('HGET', KEYS[1], 'tick')
if not tick then
  local time = redis.call('TIME')
  tick = string.format('%.0f', time[1] * 1000000 + time[2])
end
if after > 0 then redis.call('HSET', KEYS[1], 'line', epoch) end

-- How long feeds are now. Whoever was given more of one by an earlier owner knows by this that the store has lost it.
local feeds = redis.call('HGETALL', KEYS[2])
for at = 1, #feeds, 2 do
  local entries, kept = tonumber(feeds[at + 1]), ''
  for mark, length in string.gmatch(redis.call('HGET', KEYS[3], feeds[at]) or '', '(%d+:(%d+))') do
    if tonumber(length) < entries then kept = kept .. mark .. ' ' end
  end
  redis.call('HSET', KEYS[3], feeds[at], string.format('%s%d:%d', kept, epoch, entries))
end
redis.call('HSET', KEYS[1], 'epoch', epoch, 'commit', 0, 'tick', tick, 'name', ARGV[1], 'schema', ARGV[3], 'version', ARGV[4])
return {epoch, tonumber(tick)}
