-- Expire at most so many due leases, the oldest first; 'leases_due' while some are left.

function verbs.sweep(at_most)
  load_meta()
  local due = first_due(LEASES, tonumber(at_most))
  for _, id in ipairs(due) do expire_id(id) end
  return answer(#due < tonumber(at_most) and STATUS_EXPIRED or STATUS_LEASES_DUE)
end
