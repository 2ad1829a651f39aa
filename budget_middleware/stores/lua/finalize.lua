-- Book the actual cost in the windows in which the reservation was made. The targets are for an id that the store lost; its
-- age is the time since the first attempt.

function verbs.finalize(id, packed, actual, tail)
  local age_ms, wanted = settings[1], settings[2]
  wants_entries = wanted == '1'
  local record, status = open_to_end(OP_FINALIZE, id, packed, age_ms)
  if not record then return status end

  become(record, status, STATE_FINALIZED, '', actual, tail)
  return answer(status, nil, record.target_list)
end
