-- Book what an audit found missing on one counter at a seq: a difference (nano-dollars) on *spent*, and whatever leads
-- *reserved* to the sum of what is pending. The entry stands for itself: it need not begin where the one before it ended.
-- 'duplicate': the counter was repaired after that seq, so that what was found is not so any more.

function verbs.repair(id, packed, spent_delta, found_at_seq, reason)
  load_meta()
  local target = parse_targets(packed)[1]
  local counter = target.counter
  load_counters({target})
  local repaired_at_seq = tonumber(call('HGET', counter.key, 'repaired') or '') or 0
  if repaired_at_seq > tonumber(found_at_seq) then return answer(STATUS_DUPLICATE, nil, {target}) end
  local held, due = amounts_held(counter.pending)

  -- Every check is above this line and every write below it: Redis does not roll back.
  ensure_generation()
  -- Redis adds exactly where a Lua number would round; outside of this script nobody sees the field.
  for _, amounts in ipairs({held, due, {negative(counter.reserved)}}) do
    for _, amount in ipairs(amounts) do call('HINCRBY', counter.key, 'lacks', amount) end
  end
  local reserved_delta = call('HGET', counter.key, 'lacks')
  call('HDEL', counter.key, 'lacks')

  counter.repaired = whole(seq + 1)
  call('HSET', counter.key, 'repaired', counter.repaired)
  write_down(OP_ADJUST, id, STATUS_REPAIRED, {book(target, spent_delta, reserved_delta)}, '', reason)
  keep_counter(target)
  -- The journal has led *spent*; a part of it that is more than the whole is not so.
  if tonumber(counter.spent) < tonumber(counter.adjusted) then call('HSET', counter.key, 'adjusted', counter.spent) end
  return answer(STATUS_REPAIRED, nil, {target})
end
