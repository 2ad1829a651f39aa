-- What goes into sorted sets and out of them: the indexes of holds, the journal. The first time that a call changes a key it
-- does so at once, and sees there whether that is of another type. From then on it cannot fail, and whatever else changes
-- waits, so that sixteen verbs give one command: until somebody reads the key, or to the end of the call.

-- Puts a member into a sorted set with a score, or takes it out where that is ''. Returns an error for a key of another type.
local function put(key, member, score)
  if is_changed_key[key] then
    local waiting = waiting_in[key]
    if not waiting then
      waiting = {}
      waiting_in[key] = waiting
    end
    waiting[member] = score
    return nil
  end
  local reply
  if score == '' then reply = try('ZREM', key, member) else reply = try('ZADD', key, score, member) end
  if type(reply) == 'table' then return reply end
  is_changed_key[key] = true
end

-- A script has room for 200 local variables: what only this needs are those of a block.
local write_waiting
do

-- Lua passes some thousand words at once, and a sweep may expire more.
local WORDS_MAX = 1000

local function write_words(command, key, words)
  for first = 1, #words, WORDS_MAX do
    call(command, key, spread(words, first, math.min(first + WORDS_MAX - 1, #words)))
  end
end

-- Writes what waits for a key. To be called before it is read.
function write_waiting(key)
  local waiting = waiting_in[key]
  if not waiting then return end
  local added, removed = {}, {}
  for member, score in pairs(waiting) do
    if score == '' then
      removed[#removed + 1] = member
    else
      local at = #added
      added[at + 1], added[at + 2] = score, member
    end
  end
  write_words('ZADD', key, added)
  write_words('ZREM', key, removed)
  waiting_in[key] = nil
end

end

local function write_all_waiting()
  for key in pairs(waiting_in) do write_waiting(key) end
end
