-- How reservations and counters change. A reservation adds to each of its counters what it has *booked* to spent and what it
-- has *held* to reserved, in the unit of the counter, and both follow from what it is (`figures_of`): a verb says what it
-- becomes, and the counters gain the difference.

-- What a figure gains: as a number, and as the journal has it.
local function change_to(after, before)
  if after == before then return 0, '' end
  local text = difference(after, before)
  local number = tonumber(text)
  if number == 0 then return 0, '' end
  return number, number > 0 and '+' .. text or text
end

-- A script has room for 200 local variables: what only this needs are those of a block.
local changes_of
do

-- Whether a counter is not in the store, nor will be at the end of this call, or has less than it is to give back.
local function has_lost(counter, gain)
  return not (counter.is_there or counter.is_changed) or gain.reserved < 0 and counter.numbers.reserved + gain.reserved < 0
end

local function have_all(targets, gain)
  for at = 1, #targets do
    if has_lost(targets[at].counter, gain) then return false end
  end
  return true
end

-- What a counter gains that was lost with what it held: all that is spent, and of what is reserved it loses what it has.
local function gain_of_lost(counter, gain)
  local is_any = counter.numbers.reserved > 0
  return {
    spent = gain.spent, spent_signed = gain.spent_signed, held = gain.held,
    reserved = is_any and -counter.numbers.reserved or 0, reserved_signed = is_any and '-' .. counter.reserved or '',
  }
end

-- What each counter gains as two amounts change; those that gain nothing are left out. All that are of one unit gain the same. But a
-- counter that is not there any more holds nothing that could be given back, or grow: it was lost, or everybody slept until it
-- was forgotten. Nor does one that was made anew since give back more than it has. The tables are the targets' own, which saves
-- making them: they hold until the next changes of these.
function changes_of(targets, booked, booked_before, held, held_before)
  local changes, count, unit, gain, was_held, is_any = targets.changes, 0, nil, nil, nil, nil
  for at = 1, #targets do
    local target = targets[at]
    if target.unit ~= unit then
      unit, gain = target.unit, target.gain
      gain.spent, gain.spent_signed = change_to(amount_in(booked, unit), amount_in(booked_before, unit))
      was_held = amount_in(held_before, unit)
      gain.reserved, gain.reserved_signed = change_to(amount_in(held, unit), was_held)
      gain.held, is_any = gain.reserved, gain.spent ~= 0 or gain.reserved ~= 0
      -- Most often all are of one unit.
      if is_any and targets.is_of_one_unit and (was_held == '0' or have_all(targets, gain)) then
        return targets.all_changes
      end
    end
    local change, counter = is_any and target.change, target.counter
    if was_held ~= '0' and has_lost(counter, gain) then
      local rest = gain_of_lost(counter, gain)
      change = (rest.spent ~= 0 or rest.reserved ~= 0) and {target = target, counter = counter, gain = rest}
    end
    if change then
      count = count + 1
      changes[count] = change
    end
  end
  for at = #changes, count + 1, -1 do changes[at] = nil end
  changes.touched_in = nil
  return changes
end

end

-- Nothing here can fail.
local function book(changes, lasts)
  local gain, spent, reserved, is_small, frees
  -- Whether an earlier verb of this call had them written, and there is no more to see to.
  local are_touched, are_settled = changes.touched_in == this_call, true
  for at = 1, #changes do
    local change = changes[at]
    if change.gain ~= gain then
      gain = change.gain
      spent, reserved = gain.spent, gain.reserved
      is_small = spent < HALF_EXACT and reserved < HALF_EXACT and spent > -HALF_EXACT and reserved > -HALF_EXACT
      frees = is_waited_for and (reserved < 0 or spent < 0)
    end
    local target, counter = change.target, change.counter
    local numbers = counter.numbers
    local spent_before, reserved_before = numbers.spent, numbers.reserved
    -- Most often all is so small that no sum of two can be rounded.
    if is_small and spent_before < HALF_EXACT and reserved_before < HALF_EXACT
      and spent_before > -HALF_EXACT and reserved_before > -HALF_EXACT then
      if spent ~= 0 then
        local after = spent_before + spent
        counter.spent, numbers.spent = format(WHOLE, after), after
      end
      if reserved ~= 0 then
        local after = reserved_before + reserved
        counter.reserved, numbers.reserved = format(WHOLE, after), after
      end
    else
      if spent ~= 0 then add(counter, 'spent', spent, gain.spent_signed) end
      if reserved ~= 0 then add(counter, 'reserved', reserved, gain.reserved_signed) end
    end
    if target.series then
      add_to_series(counter, 'spent', spent, gain.spent_signed)
      add_to_series(counter, 'reserved', reserved, gain.reserved_signed)
    end
    if frees then freed_accounts[target.account] = true end
    if not are_touched or lasts > target.counts_until then
      touch(target, lasts)
      are_settled = are_settled and counter.is_there and not target.previous
    end
  end
  if are_settled then changes.touched_in = this_call end
end

-- The previous format takes the end from a counter that is held on.
local function touch_all(targets, lasts)
  for _, target in ipairs(targets) do touch(target, lasts, true) end
end

-- What is reserved in all changes with it, once for each unit.
local function add_to_totals(targets, changes)
  local done, gain, first = '', nil, changes[1]
  if first and targets.is_of_one_unit then
    local unit = first.target.unit
    local field = targets.totals[unit] or total_of(targets, unit)
    changed_totals[field] = (changed_totals[field] or 0) + first.gain.held
    return
  end
  for at = 1, #changes do
    local change = changes[at]
    if change.gain ~= gain then
      gain = change.gain
      local unit = change.target.unit
      if done == '' or not find(done, unit, 1, true) then
        done = done == '' and unit or done .. ' ' .. unit
        local field = targets.totals[unit] or total_of(targets, unit)
        changed_totals[field] = (changed_totals[field] or 0) + gain.held
      end
    end
  end
end

local function remembered_ms(state, status)
  if state == STATE_PENDING then return nil end
  if state == STATE_EXPIRED then return REMEMBER_EXPIRED_MS end
  return is_forgotten_early(status) and REMEMBER_RELEASED_MS or REMEMBER_MS
end

-- Writes the new state of a reservation, whose counters are loaded. Before, it had these amounts booked and held, and this
-- deadline in the indexes ('' for none).
local function write_change(record, status, booked_before, held_before, due_before, reserve_trace, tail, reserved_at)
  local booked, held = figures_of(record)
  local changes = changes_of(record.target_list, booked, booked_before, held, held_before)
  local entry, at
  if changes[1] then entry, at = record_of(record.id, status, changes, reserve_trace, tail, reserved_at) end
  if entry and status == STATUS_RESERVED then record.seq = at end
  -- Every check is above this line and every write below it: Redis does not roll back. What can fail comes first.
  if due_before ~= record.due then move_hold(record, due_before, record.due) end
  if entry then
    local is_written, problem = pcall(append, entry, #changes, wants_entries or status == STATUS_EXPIRED)
    if not is_written then
      if due_before ~= record.due then move_hold(record, record.due, due_before) end
      error(problem)
    end
  end
  ensure_generation()
  write_reservation(record, remembered_ms(record.state, status))
  book(changes, record.due == '' and NOW or tonumber(record.due))
  add_to_totals(record.target_list, changes)
  if record.is_previous then touch_all(record.target_list, NOW) end
end

-- Ends or expires a reservation whose counters are loaded. What is not pending forgets what only a hold needs. A release also
-- names the seq of its reserve, if that wrote a record.
local function become(record, status, state, charge, actual, tail, reserved_at)
  local booked_before, held_before = figures_of(record)
  local due_before, reserve_trace = record.due, status == STATUS_EXPIRED and record.trace or ''
  record.state, record.charge, record.actual = state, charge, actual
  record.held, record.due, record.trace, record.seq = '', '', '', ''
  write_change(record, status, booked_before, held_before, due_before, reserve_trace, tail, reserved_at)
end

local function expire(record, charge, tail)
  become(record, STATUS_EXPIRED, STATE_EXPIRED, charge, '', tail)
end
