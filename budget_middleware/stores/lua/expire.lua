-- An operator's release: expire a pending reservation now, charging nothing. Its owner may still finalize late.

function verbs.expire(id, reason)
  local known = open(id, '')
  local status = extension_of(known and known.state or STATUS_UNKNOWN)
  if status ~= STATUS_EXTENDED then return answer(status, known) end

  load_counters(known.target_list)
  expire(known, '0', reason)
  return answer(STATUS_EXPIRED)
end
