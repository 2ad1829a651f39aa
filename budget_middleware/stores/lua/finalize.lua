-- Book the actual cost in the windows in which the reservation was made.
-- ARGV[8] id  [9] targets, for an id that the store lost  [10] actual cost, nano-dollars
-- ARGV[11] age_ms since the first attempt  [12] reason  [13] '1' to have the entries told

local id, packed, actual, age_ms, reason = ARGV[8], ARGV[9], ARGV[10], tonumber(ARGV[11]), ARGV[12]
WANTS_ENTRIES = ARGV[13] == '1'

local known, targets = open(id, packed)
if known and (known.state == 'finalized' or known.state == 'released') then
  return answer('already_' .. known.state, known, known.targets)
end
if not known and age_ms > tonumber(REMEMBER_MS) then return answer('too_old') end

load_counters(targets)
-- Every check is above this line and every write below it: Redis does not roll back.
ensure_generation()
local status
if not known then
  status = 'finalized_unreserved'
  remember_unreserved(id, 'finalized', packed, actual)
  post('finalize', id, status, targets, actual, '0', '', reason)
elseif known.state == 'expired' then
  status = 'finalized_late'
  remember(known, 'finalized', actual)
  post('finalize', id, status, targets, difference(actual, known.charge), '0', '', reason)
else
  status = 'finalized'
  drop_lease(id, targets)
  remember(known, 'finalized', actual)
  post('finalize', id, status, targets, actual, negative(known.amount), '', reason)
end
return answer(status, nil, targets)
