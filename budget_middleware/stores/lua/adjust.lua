-- Add an amount (nano-dollars, negative: a credit) to what every target has spent, once an id; in any window where the
-- operator named it.

function verbs.adjust(id, packed, amount, any_window, reason)
  load_meta()
  local targets, key = parse_targets(packed), PREFIX .. 'a:' .. id
  expire_due_on(targets)
  local known = call('HMGET', key, 'targets', 'amount')
  if known[1] then
    local same = known[2] == amount and accounts_of(parse_targets(known[1])) == accounts_of(targets)
    return answer(same and 'duplicate' or 'conflict', nil, targets)
  end
  if any_window ~= '1' and outside_window(targets) then return answer('stale_window', nil, targets) end

  load_counters(targets)
  -- Every check is above this line and every write below it: Redis does not roll back.
  ensure_generation()
  call('HSET', key, 'targets', packed, 'amount', amount)
  call('PEXPIRE', key, REMEMBER_MS)
  post('adjust', id, 'adjusted', targets, amount, '0', '', reason)
  return answer('adjusted', nil, targets)
end
