-- Add an amount (nano-dollars, negative: a credit) to what every target has spent, once an id; in any window where the
-- operator named it.

function verbs.adjust(id, packed, amount, any_window, reason)
  load_meta()
  local targets, key = parse_targets(packed), PREFIX .. KEY_ADJUSTMENT .. ':' .. id
  expire_due_on(targets)
  local known = call('HMGET', key, 'targets', 'amount')
  if known[1] then
    local same = known[2] == amount and accounts_of(parse_targets(known[1])) == accounts_of(targets)
    return answer(same and STATUS_DUPLICATE or STATUS_CONFLICT, nil, targets)
  end
  if any_window ~= '1' and outside_window(targets) then return answer(STATUS_STALE_WINDOW, nil, targets) end

  load_counters(targets)
  -- Every check is above this line and every write below it: Redis does not roll back.
  ensure_generation()
  call('HSET', key, 'targets', packed, 'amount', amount)
  call('PEXPIRE', key, REMEMBER_MS)
  -- Nothing is no change, and so does not lengthen how long a counter is kept.
  if amount ~= '0' then post(OP_ADJUST, id, STATUS_ADJUSTED, targets, amount, '0', '', reason) end
  return answer(STATUS_ADJUSTED, nil, targets)
end
