-- Renew the lease of one's own reservation, from now on.

function verbs.extend(id)
  local known = open(id, '')
  local status = extension_of(known and known.state or STATUS_UNKNOWN)
  if status ~= STATUS_EXTENDED then return answer(status, known) end

  local deadline, due_before = renewed(known, settings[1]), known.due
  known.due = whole(deadline)
  -- Every check is above this line and every write below it: Redis does not roll back. What can fail comes first.
  move_hold(known, due_before, known.due)
  write_reservation(known)
  outlive(known.target_list, deadline)
  is_nothing_due = is_nothing_due and deadline > NOW
  return answer(status)
end
