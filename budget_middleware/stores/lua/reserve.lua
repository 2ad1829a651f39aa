-- Hold an amount (nano-dollars) on every target, or on none. Not enforced ('0', shadow): hold all the same, and tell the
-- refusal. Rejection: {index of the target, spent, reserved}.

-- The counter that refuses: what is spent before what is only held, then the larger shortfall, then the first.
local function find_rejection(targets, estimate)
  local rejection, worst_spent, worst_shortfall = nil, nil, nil
  for index, target in ipairs(targets) do
    if estimate > 0 and target.limit ~= NO_LIMIT then
      local counter, limit = target.counter, tonumber(target.limit)
      local spent, reserved = tonumber(counter.spent), tonumber(counter.reserved)
      local shortfall, is_spent = spent + reserved + estimate - limit, spent + estimate > limit
      if shortfall > 0 and (not rejection or (is_spent and not worst_spent) or
          (is_spent == worst_spent and shortfall > worst_shortfall)) then
        rejection, worst_spent, worst_shortfall = {index, counter.spent, counter.reserved}, is_spent, shortfall
      end
    end
  end
  return rejection, worst_spent
end

local function check_not_full(targets)
  for _, target in ipairs(targets) do
    local spent, reserved = target.counter.spent, target.counter.reserved
    local are_long = #spent >= FULL_DIGITS or #reserved >= FULL_DIGITS
    if are_long and (is_full(spent) or is_full(reserved)) then fail('counter ' .. target.counter.key .. ' is full') end
  end
end

function verbs.reserve(id, packed, amount, lease_ms, charge, enforced, version, wanted)
  wants_entries = wanted == '1'
  local known, targets, were_due = open(id, packed)
  if known then
    local same = known.amount == '' or
      (known.amount == amount and accounts_of(known.target_list) == accounts_of(parse_targets(packed)))
    return answer(same and STATUS_DUPLICATE or STATUS_CONFLICT, known, known.target_list)
  end
  if outside_window(targets) then return answer(STATUS_STALE_WINDOW) end
  if version ~= limits_version then return answer(STATUS_STALE_LIMITS) end

  load_counters(targets)
  local estimate = tonumber(amount)
  local rejection, is_spent = find_rejection(targets, estimate)
  if rejection and not is_spent and leases_due(targets) then
    -- Only in a damaged store do these counters know of due leases of which nobody else knows.
    if not were_due then expire_indexed(targets) end
    if seq > seq_before or leases_due(targets) then return answer(STATUS_LEASES_DUE) end
  end
  if rejection and enforced == '1' then return answer(STATUS_REJECTED, nil, nil, rejection) end

  if estimate > 0 then check_not_full(targets) end

  -- Every check is above this line and every write below it: Redis does not roll back.
  ensure_generation()
  local deadline = NOW + tonumber(lease_ms)
  local record = {
    key = reservation_key(id), state = STATE_PENDING, targets = packed, amount = amount, charge = charge, actual = '0',
    created = whole(NOW), deadline = whole(deadline), trace = trace, seq = whole(seq + #targets),
  }
  write_reservation(record)
  put_lease(id, targets, deadline)
  local spent_delta, reserved_delta = figures_of(record)
  post(OP_RESERVE, id, STATUS_RESERVED, targets, spent_delta, reserved_delta, '', '')
  return answer(STATUS_RESERVED, nil, targets, rejection)
end
