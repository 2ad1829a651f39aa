-- Give a hold back and book nothing; of an unknown id leave a tombstone, so that a delayed reserve holds nothing. The age is
-- the time since the first attempt.

function verbs.release(id, age_ms, reason, wanted)
  wants_entries = wanted == '1'
  local known, targets, nothing_to_end = open_to_end(id, '', age_ms)
  if nothing_to_end then return nothing_to_end end
  local reserved_at = known and call('HGET', known.key, 'seq')
  call('ZCARD', VOIDED)

  -- Every check is above this line and every write below it: Redis does not roll back.
  ensure_generation()
  if not known then
    remember_unreserved(id, 'released', '', '0', REMEMBER_RELEASED_MS)
    return answer('released_unknown')
  end
  if known.state == 'expired' then
    remember(known, 'released', '0')
    post('release', id, 'released_late', targets, negative(known.charge), '0', '', reason)
    return answer('released_late', nil, targets)
  end
  remember(known, 'released', '0', REMEMBER_RELEASED_MS)
  drop_lease(id, targets)
  post('release', id, 'released', targets, '0', negative(known.amount), '', reason, reserved_at)
  return answer('released', nil, targets)
end
