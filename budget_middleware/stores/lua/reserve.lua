-- Hold what is asked on every target, or nothing at all. Not enforced ('0', shadow): hold all the same, and tell the
-- refusal: see `_rejections.lua`. `asked` is '0' where that is nothing.

-- Only where more of its unit is to be held than before.
local function check_not_full(targets, held, held_before)
  for at = 1, #targets do
    local target = targets[at]
    local is_one_full = is_full(target.compared.spent) or is_full(target.compared.reserved)
    if is_one_full and amount_in(held, target.unit) ~= amount_in(held_before, target.unit) then
      fail('counter ' .. target.name .. ' is full')
    end
  end
end

-- Of the units that only one of them has a counter of, the other asked for nothing: a limit came or went between them.
local function are_same_amounts(known, asked, targets)
  if known.asked == asked then return true end
  local asked_of = {}
  for _, target in ipairs(targets) do asked_of[target.unit] = amount_in(asked, target.unit) end
  for _, target in ipairs(known.target_list) do
    local amount = asked_of[target.unit]
    if amount and amount ~= amount_in(known.asked, target.unit) then return false end
  end
  return true
end

local function is_same(known, asked, packed)
  local targets = parse_targets(packed)
  return known.asked == '' or are_same_amounts(known, asked, targets)
    and accounts_of(known.target_list) == accounts_of(targets)
end

function verbs.reserve(id, packed, asked, charge)
  local lease_ms, enforced, version, wanted = spread(settings)
  wants_entries = wanted == '1'
  local known, targets, were_due = open(id, packed)
  if known then
    local status = is_same(known, asked, packed) and STATUS_DUPLICATE or STATUS_CONFLICT
    return answer(status, known, known.target_list)
  end
  if outside_window(targets) then return answer(STATUS_STALE_WINDOW) end
  if version ~= limits_version then return answer(STATUS_STALE_LIMITS) end

  load_counters(targets)
  local worst, are_large = find_rejection(targets, asked)
  if worst and not worst.is_spent and leases_due(targets) then
    -- Only in a damaged store do these counters know of due leases of which nobody else knows.
    if not were_due then expire_indexed(targets) end
    if seq > seq_before or leases_due(targets) then return answer(STATUS_LEASES_DUE) end
  end
  local rejection = rejection_of(targets, worst)
  if rejection and enforced == '1' then return answer(STATUS_REJECTED, nil, nil, rejection) end
  if are_large then check_not_full(targets, asked, '') end

  local deadline = NOW + tonumber(lease_ms)
  local record = new_reservation(id, reservation_key(id), STATE_PENDING, packed, targets)
  record.asked, record.held, record.charge = asked, asked == '0' and '' or asked, charge
  record.made, record.due, record.trace = NOW_MS, whole(deadline), trace
  write_change(record, STATUS_RESERVED, '', '', '', '', '')
  is_nothing_due = is_nothing_due and deadline > NOW
  return answer(STATUS_RESERVED, nil, targets, rejection)
end
