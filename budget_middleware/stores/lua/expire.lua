-- An operator's release: expire a pending reservation now, charging nothing. Its owner may still finalize late.

function verbs.expire(id, tail)
  local known = open(id, '')
  local status = extension_of(known and known.state or STATUS_UNKNOWN)
  if status ~= STATUS_EXTENDED then return answer(status, known) end

  load_counters(known.target_list)
  expire(known, '', tail)
  return answer(STATUS_EXPIRED)
end
