-- Renew the lease of one's own reservation, from now on.

function verbs.extend(id, lease_ms)
  local known = open(id, '')
  if not known then return answer('unknown') end
  if known.state ~= 'pending' then return answer('already_' .. known.state, known) end
  for _, target in ipairs(known.targets) do call('ZCARD', target.counter.pending) end

  -- Every check is above this line and every write below it: Redis does not roll back.
  local deadline = NOW + tonumber(lease_ms)
  call('HSET', known.key, 'deadline', whole(deadline))
  put_lease(id, known.targets, deadline)
  return answer('extended')
end
