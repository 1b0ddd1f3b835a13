-- Apply one commit, or nothing of it. Everything is checked before the first write: Redis does not roll a script back.
--
-- KEYS  1 owner, 2 feeds, 3 opened, 4 ticks, 5 happenings, then (nodes, journal, rewards) per tree that grows anew, one nodes list per tree, one journal per tree,
--       one hash per hash write, and (tree hash, feed, journal) per feed entry
-- ARGV  1 epoch, 2 number of this commit, 3 number of the last commit its sender had an answer for, 4 its tick, 5 entry of
--       happenings, 6 bytes of them that are kept, 7 bytes of ticks that are kept, then six sections:
--       number of entries of ticks, and for each: run id, entry
--       number of trees that grow anew: what is there of them goes first
--       number of trees with nodes, and for each: number of its first node, count, that many records
--       number of trees with journal entries, and for each: count, that many entries
--       number of hash writes, and for each: count of arguments, then field, value, field, value ...
--       number of feed entries, and for each: run id, tree id
-- Returns {'OK'}
--         {'STALE', epoch, name}           a newer owner has opened the store
--         {'LOST', epoch, commit}          the store forgot commits it had answered for; what it has now
--         {'GAP', n, length}               the nth tree's nodes do not continue its list of that length
--         {'DIFFERENT', n, number}         the nth tree has this node already, with other content
--
-- A commit sent again (its answer got lost), or found in a socket buffer long after its sender gave up, changes nothing:
-- commits are numbered, nodes too, and a tree enters its feed once. Nodes that are there already must be the same: two growths of a
-- tree would be mixed otherwise.

-- Write effects, not the script, to AOF and replicas: replay is cheaper, and no Lua text is kept there.
redis.replicate_commands()

-- Lua's C stack holds 8000 values.
local CHUNK = 4000

local function send(command, key, first, last)
  for from = first, last, CHUNK do
    redis.call(command, key, unpack(ARGV, from, math.min(from + CHUNK - 1, last)))
  end
end

local owner = redis.call('HMGET', KEYS[1], 'epoch', 'commit')
local epoch, commit = tonumber(owner[1]) or 0, tonumber(owner[2]) or 0
local number = tonumber(ARGV[2])
if epoch > tonumber(ARGV[1]) then return {'STALE', epoch, redis.call('HGET', KEYS[1], 'name') or ''} end
if epoch < tonumber(ARGV[1]) or commit < tonumber(ARGV[3]) then return {'LOST', epoch, commit} end
if commit >= number then return {'OK'} end

local key, at = 6, 8
local function take()
  at = at + 1
  return tonumber(ARGV[at - 1])
end

local decided = take()
local first_decided = at
at = at + 2 * decided

local gone, anew = {}, {}
for _ = 1, take() do
  anew[KEYS[key]] = true
  for part = 0, 2 do gone[#gone + 1] = KEYS[key + part] end
  key = key + 3
end

local lists = {}
for n = 1, take() do
  local first, count = take(), take()
  local length = anew[KEYS[key]] and 0 or redis.call('LLEN', KEYS[key])
  if length < first then return {'GAP', n, length} end
  if length > first then
    for i, record in ipairs(redis.call('LRANGE', KEYS[key], first, first + count - 1)) do
      if record ~= ARGV[at + i - 1] then return {'DIFFERENT', n, first + i - 1} end
    end
  end
  lists[n] = {KEYS[key], at + length - first, at + count - 1}
  key, at = key + 1, at + count
end

redis.call('HSET', KEYS[1], 'commit', number, 'tick', ARGV[4])

-- Ids are places: how many bytes the log has ever had with its entry. So what is kept is bounded in bytes, and who reads on sees
-- what is missing. An empty entry is none.
local function say(log, name, kept, entry, ...)
  if entry == '' then return end
  local place = redis.call('HINCRBY', KEYS[1], name, #entry)
  local oldest = math.max(0, place - tonumber(kept))
  redis.call('XADD', log, 'MINID', '~', string.format('%.0f-0', oldest), string.format('%.0f-0', place), 'e', entry, ...)
end
for n = first_decided, first_decided + 2 * decided - 2, 2 do say(KEYS[4], 'ticks', ARGV[7], ARGV[n + 1], 'r', ARGV[n]) end
say(KEYS[5], 'happenings', ARGV[6], ARGV[5])

for _, name in ipairs(gone) do redis.call('DEL', name) end
for _, list in ipairs(lists) do send('RPUSH', list[1], list[2], list[3]) end

for _ = 1, take() do
  local count = take()
  send('RPUSH', KEYS[key], at, at + count - 1)
  key, at = key + 1, at + count
end

for _ = 1, take() do
  local count = take()
  send('HSET', KEYS[key], at, at + count - 1)
  key, at = key + 1, at + count
end

for _ = 1, take() do
  local run_id, tree_id = ARGV[at], ARGV[at + 1]
  if redis.call('HEXISTS', KEYS[key], 'feed') == 0 then
    local seq = redis.call('HINCRBY', KEYS[2], run_id, 1)
    if seq == 1 then redis.call('HSET', KEYS[3], run_id, ARGV[1] .. ':0') end -- as if it had been there
    redis.call('XADD', KEYS[key + 1], seq .. '-0', 'tree', tree_id)
    redis.call('HSET', KEYS[key], 'feed', seq)
    redis.call('DEL', KEYS[key + 2])
  end
  key, at = key + 3, at + 2
end
return {'OK'}
