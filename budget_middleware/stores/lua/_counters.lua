-- Counters: a hash with spent, reserved, adjusted (the part of spent that operators added by hand) and, after a repair,
-- `repaired`: the seq of its entry.

-- Reads and checks the counters of targets and what is kept beside them, so that no later write fails half way.
local function load_counters(targets)
  for _, target in ipairs(targets) do
    local counter = target.counter
    if not counter.holds then
      local figures = call('HMGET', counter.key, 'spent', 'reserved', 'adjusted', 'repaired')
      counter.spent, counter.reserved, counter.adjusted = figures[1] or '0', figures[2] or '0', figures[3] or '0'
      counter.repaired = figures[4]
      if not (is_whole(counter.spent) and is_whole(counter.reserved) and is_whole(counter.adjusted)) then
        fail('counter ' .. counter.key .. ' is damaged')
      end
      counter.holds = call('ZCARD', counter.pending)
      counter.is_kept = counter.holds > 0
    end
  end
end

local function increase(counter, field, delta)
  if delta == '0' then return end
  local after = call('HINCRBY', counter.key, field, delta)
  counter[field] = after < EXACT_NANOS and after > -EXACT_NANOS and whole(after) or call('HGET', counter.key, field)
end

-- Changes one counter, and tells the change as the journal has it.
local function book(target, spent_delta, reserved_delta)
  local counter = target.counter
  increase(counter, 'spent', spent_delta)
  increase(counter, 'reserved', reserved_delta)
  return concat({target.account, target.period, target.window, target.limit,
    spent_delta, reserved_delta, counter.spent, counter.reserved}, ' ')
end

-- A counter that is not there reads as one that shows nothing. One that was repaired is kept: it knows up to which seq.
local function shows_nothing(counter)
  return counter.spent == '0' and counter.reserved == '0' and counter.adjusted == '0' and not counter.repaired
end

-- Kept while something is pending on it, and then for a time after its window's end or its last change, whichever
-- is later; a total has no end. A counter that is back at nothing is dropped at once: whoever sends random tokens must not
-- leave one for each of them.
local function keep_counter(target)
  local counter = target.counter
  if counter.holds == 0 and shows_nothing(counter) then
    call('DEL', counter.key)
    counter.is_kept = false
    return
  end
  if target.ends >= FOREVER_MS then return end
  if counter.holds == 0 then
    call('PEXPIRE', counter.key, whole(math.max(NOW, target.ends) + COUNTERS_MS - NOW))
    counter.is_kept = false
  elseif not counter.is_kept then
    call('PERSIST', counter.key)
    counter.is_kept = true
  end
end
