-- Book the actual cost (nano-dollars) in the windows in which the reservation was made. The targets are for an id that the
-- store lost; its age is the time since the first attempt.

function verbs.finalize(id, packed, actual, age_ms, reason, wanted)
  wants_entries = wanted == '1'
  local known, targets, nothing_to_end = open_to_end(id, packed, age_ms)
  if nothing_to_end then return nothing_to_end end

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
end
