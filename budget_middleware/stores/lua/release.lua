-- Give a hold back and book nothing; of an unknown id leave a tombstone, so that a delayed reserve holds nothing. The age is
-- the time since the first attempt. With '1' at the end nothing is remembered, as if the reserve had never been.

function verbs.release(id, tail)
  local age_ms, wanted, forgets = spread(settings)
  wants_entries = wanted == '1'
  local record, status = open_to_end(OP_RELEASE, id, '', age_ms)
  if not record then return status end
  if forgets and status == STATUS_RELEASED_UNKNOWN then return answer(status) end
  call('ZCARD', VOIDED)

  become(record, status, STATE_RELEASED, '', '', tail, record.seq)
  if forgets then call('DEL', record.key) end
  return answer(status, nil, record.target_list)
end
