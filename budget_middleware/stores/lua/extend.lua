-- Renew the lease of one's own reservation, from now on.

function verbs.extend(id, lease_ms)
  local known = open(id, '')
  local status = extension_of(known and known.state or STATUS_UNKNOWN)
  if status ~= STATUS_EXTENDED then return answer(status, known) end
  for _, target in ipairs(known.target_list) do call('ZCARD', target.counter.pending) end

  -- Every check is above this line and every write below it: Redis does not roll back.
  local deadline = NOW + tonumber(lease_ms)
  call('HSET', known.key, 'deadline', whole(deadline))
  put_lease(id, known.target_list, deadline)
  return answer(status)
end
