-- How reservations and counters change. A reservation adds two figures to each of its counters, *booked* to spent and *held*
-- to reserved, and both follow from its state alone (`figures_of`): a verb says what it becomes, and the counters gain the difference.

-- Books the same change on every target and writes it down. Apart from a repair, the only place where counters change.
local function post(op, id, status, targets, spent_delta, reserved_delta, reserve_trace, reason, reserved_at)
  local changes = {}
  local is_change = spent_delta ~= '0' or reserved_delta ~= '0'
  for index, target in ipairs(targets) do
    if is_change then
      changes[index] = book(target, spent_delta, reserved_delta)
      if op == OP_ADJUST then increase(target.counter, 'adjusted', spent_delta) end
    end
    keep_counter(target)
  end
  -- Only a metric's figure: a damaged one stops nobody.
  if reserved_delta ~= '0' then redis.pcall('HINCRBY', TOTALS, kinds_of(targets), reserved_delta) end
  if is_change then write_down(op, id, status, changes, reserve_trace, reason, reserved_at) end
end

local function remembered_ms(state, status)
  if state == STATE_EXPIRED then return REMEMBER_EXPIRED_MS end
  return is_forgotten_early(status) and REMEMBER_RELEASED_MS or REMEMBER_MS
end

-- Ends or expires a reservation whose counters are loaded: it gets a state and the new value of one of its fields. A
-- release also names the seq of its reserve, if that wrote a record.
local function become(record, op, status, state, field, value, reason, reserved_at)
  -- Every check is above this line and every write below it: Redis does not roll back.
  ensure_generation()
  if record.state == STATE_PENDING then drop_lease(record.id, record.target_list) end
  local booked_before, held_before = figures_of(record)
  record.state, record[field] = state, value
  if record.is_new then write_reservation(record) else call('HSET', record.key, 'state', state, field, value) end
  call('PEXPIRE', record.key, remembered_ms(state, status))
  local booked, held = figures_of(record)
  post(op, record.id, status, record.target_list, difference(booked, booked_before), difference(held, held_before),
    op == OP_EXPIRE and record.trace or '', reason, reserved_at)
end

local function expire(record, charge, reason)
  become(record, OP_EXPIRE, STATUS_EXPIRED, STATE_EXPIRED, 'charge', charge, reason)
end
