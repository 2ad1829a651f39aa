-- Counters: a hash with spent, reserved, adjusted (the part of spent that operators added by hand) and, after a repair,
-- `repaired`: the seq of its entry. They change here first, and in the store at the end of the call.

-- Figures are kept as the texts that were read, and as numbers too: a text that has not changed is sound.
local function set_figure(counter, name, text)
  if not is_whole(text) then
    fail('counter ' .. counter.key .. ' is damaged')
  end
  counter[name], counter.numbers[name] = text, tonumber(text)
end

local load_series

local function load_counter(counter)
  if counter.as_of == this_call then return end
  local figures = call('HMGET', counter.key, 'spent', 'reserved', 'adjusted', 'repaired')
  local spent, reserved, adjusted, repaired = figures[1], figures[2], figures[3], figures[4]
  counter.repaired, counter.is_there = repaired, spent or reserved or adjusted or repaired
  spent, reserved, adjusted = spent or '0', reserved or '0', adjusted or '0'
  if spent ~= counter.spent then set_figure(counter, 'spent', spent) end
  if reserved ~= counter.reserved then set_figure(counter, 'reserved', reserved) end
  if adjusted ~= counter.adjusted then set_figure(counter, 'adjusted', adjusted) end
  counter.as_of, counter.spent_in_store, counter.adjusted_in_store = this_call, spent, adjusted
  counter.is_changed, counter.lasts_until = false, false
end

-- What is carried over is added to the limits, by what the windows before have spent now. Percents of hundreds and of the rest
-- apart: a Lua number would round their product.
local function carry_over(targets)
  for at = 1, #targets do
    local target = targets[at]
    if target.previous then
      load_counter(target.previous)
      local left = math.max(0, target.of - target.previous.numbers.spent)
      local hundreds = math.floor(left / 100)
      local carried = target.percent * hundreds + math.floor(target.percent * (left - 100 * hundreds) / 100)
      target.limit = math.min(target.base + carried, EXACT)
      target.line = target.name .. ' limit=' .. whole(target.limit)
    end
  end
end

-- Reads and checks the counters of targets, so that no later write fails half way.
local function load_counters(targets)
  if targets.as_of ~= this_call then
    for at = 1, #targets do load_counter(targets[at].counter) end
    if targets.are_rolling then load_series(targets) end
    targets.as_of = this_call
  end
  -- Another verb of this call may have changed what is left of the windows before.
  if targets.are_carried then carry_over(targets) end
end

-- Adds a change to a figure: a number, and its text with a sign.
local function add(counter, name, number, signed)
  local numbers = counter.numbers
  local before = numbers[name]
  local after = before + number
  if before < EXACT and after < EXACT and before > -EXACT and after > -EXACT then
    counter[name], numbers[name] = format(WHOLE, after), after
  else
    -- A Lua number would round.
    call('HSET', counter.key, name, counter[name])
    call('HINCRBY', counter.key, name, (string.gsub(signed, '^%+', '')))
    counter[name] = call('HGET', counter.key, name)
    numbers[name] = tonumber(counter[name])
  end
end

-- How long a counter is kept: as `Retention.counter_ms` has it.
local function kept_ms(counter)
  if not counter.is_short then return COUNTERS_MS end
  return math.min(COUNTERS_MS, 2 * math.max(tonumber(REMEMBER_MS), tonumber(REMEMBER_EXPIRED_MS)))
end

-- Marks a counter as changed, so that it is written. Its key expires some time after its window's end or after its last change
-- (`lasts`), whichever is later; that of a total never does. A new counter gets that time at once, an old one a later time only
-- if its window is over, if the previous format had removed its expiry (`is_endless`), or if the next window carries over what it
-- has left: its limit may have begun to do so by now.
local function touch(target, lasts, is_endless)
  local counter = target.counter
  if not counter.is_changed then
    counter.is_changed = true
    changed_counters[#changed_counters + 1] = counter
  end
  local may_be_short = is_endless or not counter.is_there or target.previous
  if (lasts > target.counts_until or may_be_short) and target.ends < FOREVER_MS then
    counter.lasts_until = math.max(target.counts_until, lasts, counter.lasts_until or 0)
  end
end

-- A missing counter reads as one at zero. A repaired one is not dropped: it knows up to which seq it was repaired.
local function shows_nothing(counter)
  return counter.spent == '0' and counter.reserved == '0' and counter.adjusted == '0' and not counter.repaired
end

-- A counter that is back at zero is dropped: random tokens must not leave a counter each.
local function write_counters()
  for _, counter in ipairs(changed_counters) do
    if not shows_nothing(counter) then
      local key, spent, reserved, adjusted = counter.key, counter.spent, counter.reserved, counter.adjusted
      if adjusted ~= counter.adjusted_in_store then
        call('HSET', key, 'spent', spent, 'reserved', reserved, 'adjusted', adjusted)
      elseif counter.is_there and spent == counter.spent_in_store then
        call('HSET', key, 'reserved', reserved)
      else
        call('HSET', key, 'spent', spent, 'reserved', reserved)
      end
      if counter.lasts_until then call('PEXPIRE', counter.key, whole(counter.lasts_until + kept_ms(counter) - NOW)) end
    elseif counter.is_there then
      call('DEL', counter.key)
    end
  end
end

local function write_totals()
  for field, delta in pairs(changed_totals) do
    -- Only a metric's figure: a damaged one stops nobody.
    if delta ~= 0 then try('HINCRBY', TOTALS, field, format('%.0f', delta)) end
  end
end
