-- What goes into sorted sets and out of them: the indexes of holds, the journal. The first time that a call changes a key it
-- does so at once, and sees there whether that is of another type. From then on it cannot fail, and whatever else changes
-- waits, so that sixteen verbs give one command: until somebody reads the key, or to the end of the call.
--
-- What waits for a key are the words of two commands: first goes what is put in, and then what is taken out. So what was taken out and
-- comes back is not to wait beside itself.

-- A script has room for 200 local variables: what only this needs are those of a block.
local write_waiting, put
do

-- Lua passes some thousand words at once, and a sweep may expire more.
local WORDS_MAX = 1000

local function write_words(command, key, words, count)
  for first = 1, count, WORDS_MAX do
    call(command, key, spread(words, first, math.min(first + WORDS_MAX - 1, count)))
  end
end

-- Writes what waits for a key. To be called before it is read.
function write_waiting(key)
  local queue = queues[key]
  if not queue or queue.this_call ~= this_call then return end
  if queue.n_added > 0 then write_words('ZADD', key, queue.added, queue.n_added) end
  if queue.n_removed > 0 then write_words('ZREM', key, queue.removed, queue.n_removed) end
  -- What a sweep has put there is not kept.
  if queue.n_added > WORDS_MAX or queue.n_removed > WORDS_MAX then queue.added, queue.removed = {}, {} end
  queue.n_added, queue.n_removed = 0, 0
end

-- Whether a member is among the first words.
local function is_among(words, count, member)
  for at = 1, count do
    if words[at] == member then return true end
  end
  return false
end

-- The first change of a key in a call.
local function put_at_once(key, member, score)
  local reply
  if score == '' then reply = try('ZREM', key, member) else reply = try('ZADD', key, score, member) end
  if type(reply) == 'table' then return reply end
  local queue = queues[key]
  if not queue then
    queue = {added = {}, removed = {}}
    queues[key] = queue
    remembered = remembered + 1
  end
  queue.this_call, queue.n_added, queue.n_removed = this_call, 0, 0
  waiting_keys[#waiting_keys + 1] = key
end

-- Puts a member into a sorted set with a score, or takes it out where that is ''. Returns an error for a key of another type.
function put(key, member, score)
  local queue = queues[key]
  if not queue or queue.this_call ~= this_call then return put_at_once(key, member, score) end
  if score == '' then
    local last = queue.n_removed + 1
    queue.removed[last], queue.n_removed = member, last
  else
    if queue.n_removed > 0 and is_among(queue.removed, queue.n_removed, member) then write_waiting(key) end
    local added, last = queue.added, queue.n_added + 2
    added[last - 1], added[last], queue.n_added = score, member, last
  end
end

end

local function write_all_waiting()
  for at = 1, #waiting_keys do write_waiting(waiting_keys[at]) end
end
