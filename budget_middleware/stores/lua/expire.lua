-- An operator's release: expire a pending reservation now, charging nothing. Its owner may still finalize late.

function verbs.expire(id, reason)
  local known = open(id, '')
  if not known then return answer('unknown') end
  if known.state ~= 'pending' then return answer('already_' .. known.state, known) end

  load_counters(known.targets)
  expire(known, '0', reason)
  return answer('expired')
end
