-- Merge what a worker has learnt from answers with what others have; for each group two words: its name model|account, and the
-- sums that are told, '' where the worker only asks. Returns for each the merged sums, '' where nothing was known before.
-- No counter hangs on this. What cannot be read, of whatever type, is learnt anew.

-- The four operations of `merge` in core/costs/learning.py, in their order: both come to the same bits.
local function merged(older, newer)
  local left = math.max(0, 1 - newer[1] * tonumber(FORGETTING))
  for at = 1, N_SUMS do newer[at] = older[at] * left + newer[at] end
  return newer
end

local function learn_one(group, packed)
  local key = PREFIX .. KEY_LEARNT .. ':' .. group
  local known, newer = try('GET', key), read_sums(packed)
  local older = type(known) == 'string' and read_sums(known)
  -- A missing key is false.
  if known and not older then call('DEL', key) end
  if not newer then return older and known or '' end
  local sums = text_of_sums(older and merged(older, newer) or newer)
  call('SET', key, sums, 'PX', whole(LEARNT_MS))
  return older and sums or ''
end

function verbs.learn(...)
  local words, sums = {...}, {}
  for at = 1, #words, 2 do sums[#sums + 1] = learn_one(words[at], words[at + 1]) end
  return sums
end
