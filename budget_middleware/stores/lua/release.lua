-- Give a hold back and book nothing; of an unknown id leave a tombstone, so that a delayed reserve holds nothing. The age is
-- the time since the first attempt.

function verbs.release(id, age_ms, tail, wanted)
  wants_entries = wanted == '1'
  local record, status = open_to_end(OP_RELEASE, id, '', age_ms)
  if not record then return status end
  call('ZCARD', VOIDED)

  become(record, status, STATE_RELEASED, '', '', tail, record.seq)
  return answer(status, nil, record.target_list)
end
