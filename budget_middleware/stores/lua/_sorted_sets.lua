-- What goes into sorted sets and out of them: the indexes of holds, the journal. The first time that a call changes a key it
-- does so at once, and sees there whether that is of another type. From then on it cannot fail, and whatever else changes
-- waits, so that sixteen verbs give one command: until somebody reads the key, or to the end of the call.
--
-- What waits for a key are the words of two commands: first goes what is put in, and then what is taken out. So what was taken out and
-- comes back is not to wait beside itself.

-- A script has room for 200 local variables: what only this needs are those of a block.
local queue_of, write_waiting, write_all_waiting, put
do

-- Lua passes some thousand words at once, and a sweep may expire more.
local WORDS_MAX = 1000

-- What waits for a key. `alone` is a list of this queue, for `put`.
function queue_of(key)
  local queue = queues[key]
  if not queue then
    queue = {key = key, added = {}, removed = {}, n_added = 0, n_removed = 0}
    queue.alone = {queue}
    queues[key] = queue
    remembered = remembered + 1
  end
  return queue
end

local function write_words(command, key, words, count)
  for first = 1, count, WORDS_MAX do
    call(command, key, spread(words, first, math.min(first + WORDS_MAX - 1, count)))
  end
end

local function write_queue(queue)
  if queue.this_call ~= this_call then return end
  if queue.n_added > 0 then write_words('ZADD', queue.key, queue.added, queue.n_added) end
  if queue.n_removed > 0 then write_words('ZREM', queue.key, queue.removed, queue.n_removed) end
  -- What a sweep has put there is not kept.
  if queue.n_added > WORDS_MAX or queue.n_removed > WORDS_MAX then queue.added, queue.removed = {}, {} end
  queue.n_added, queue.n_removed = 0, 0
end

-- Writes what waits for a key. To be called before it is read.
function write_waiting(key)
  if queues[key] then write_queue(queues[key]) end
end

function write_all_waiting()
  for at = 1, #waiting do
    local queue = waiting[at]
    if queue.n_added > 0 or queue.n_removed > 0 then write_queue(queue) end
  end
end

-- Whether a member is among the first words.
local function is_among(words, count, member)
  for at = 1, count do
    if words[at] == member then return true end
  end
  return false
end

-- The first change of a key in a call.
local function put_at_once(queue, member, score)
  local reply
  if score == '' then reply = try('ZREM', queue.key, member) else reply = try('ZADD', queue.key, score, member) end
  if type(reply) == 'table' then return reply end
  queue.this_call, queue.n_added, queue.n_removed = this_call, 0, 0
  waiting[#waiting + 1] = queue
end

-- Puts a member into sorted sets with a score, or takes it out where that is ''. Returns an error for a key of another type, and
-- the place of that one: those before it are changed, and none behind it.
function put(into, member, score)
  for at = 1, #into do
    local queue = into[at]
    if queue.this_call ~= this_call then
      local problem = put_at_once(queue, member, score)
      if problem then return problem, at end
    elseif score == '' then
      local last = queue.n_removed + 1
      queue.removed[last], queue.n_removed = member, last
    else
      if queue.n_removed > 0 and is_among(queue.removed, queue.n_removed, member) then write_queue(queue) end
      local added, last = queue.added, queue.n_added + 2
      added[last - 1], added[last], queue.n_added = score, member, last
    end
  end
end

end
