-- Hold an amount on every target, or on none.
-- ARGV[8] id  [9] targets  [10] amount, nano-dollars  [11] lease_ms  [12] expiry charge, nano-dollars
-- ARGV[13] '1' to enforce, '0' to hold all the same and tell the refusal (shadow)  [14] limits version
-- [15] '1' to have the entries told
-- Rejection: {index of the target, spent, reserved}.

local id, packed, amount, lease_ms, charge = ARGV[8], ARGV[9], ARGV[10], tonumber(ARGV[11]), ARGV[12]
local enforced, version = ARGV[13] == '1', ARGV[14]
WANTS_ENTRIES = ARGV[15] == '1'

local known, targets, were_due = open(id, packed)
if known then
  local same = known.amount == '' or
    (known.amount == amount and accounts_of(known.targets) == accounts_of(parse_targets(packed)))
  return answer(same and 'duplicate' or 'conflict', known, known.targets)
end
if outside_window(targets) then return answer('stale_window') end
if version ~= limits_version then return answer('stale_limits') end

load_counters(targets)
local estimate, rejection, worst_spent, worst_shortfall = tonumber(amount), nil, nil, nil
for index, target in ipairs(targets) do
  if estimate > 0 and target.limit ~= '-' then
    local spent, reserved, limit = tonumber(target.spent), tonumber(target.reserved), tonumber(target.limit)
    local shortfall, is_spent = spent + reserved + estimate - limit, spent + estimate > limit
    if shortfall > 0 and (not rejection or (is_spent and not worst_spent) or
        (is_spent == worst_spent and shortfall > worst_shortfall)) then
      rejection, worst_spent, worst_shortfall = {index, target.spent, target.reserved}, is_spent, shortfall
    end
  end
end
if rejection and not worst_spent and leases_due(targets) then
  -- Only in a damaged store do these counters know of due leases of which nobody else knows.
  if not were_due then expire_indexed(targets) end
  if seq > seq_before or leases_due(targets) then return answer('leases_due') end
end
if rejection and enforced then return answer('rejected', nil, nil, rejection) end

for _, target in ipairs(targets) do
  local is_full = estimate > 0 and tonumber(target.spent) + tonumber(target.reserved) >= FULL
  if is_full then fail('counter ' .. target.counter .. ' is full') end
end

-- Every check is above this line and every write below it: Redis does not roll back.
ensure_generation()
local deadline = whole(NOW + lease_ms)
call('HSET', reservation_key(id), 'state', 'pending', 'targets', packed, 'amount', amount, 'charge', charge,
  'actual', '0', 'created', whole(NOW), 'deadline', deadline, 'trace', TRACE)
add_lease(id, targets, deadline)
post('reserve', id, 'reserved', targets, '0', amount, '', '')
return answer('reserved', nil, targets, rejection)
