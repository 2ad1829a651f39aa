-- Book what an audit found missing on one counter at a seq: a difference on *spent*, and whatever leads
-- *reserved* to the sum of what is pending. The entry stands for itself: it need not begin where the one before it ended.
-- 'duplicate': the counter was repaired after that seq, so that what was found is not so any more.

-- Redis adds exactly where a Lua number would round; outside of this script nobody sees the field.
local function sum_up(key, amounts)
  for _, amount in ipairs(amounts) do call('HINCRBY', key, 'lacks', amount) end
end

function verbs.repair(id, packed, spent_delta, found_at_seq, tail)
  load_meta()
  local targets = parse_targets(packed)
  local target = targets[1]
  local counter = target.counter
  load_counters(targets)
  local repaired_at_seq = tonumber(counter.repaired or '') or 0
  if repaired_at_seq > tonumber(found_at_seq) then return answer(STATUS_DUPLICATE, nil, targets) end
  local held, due = amounts_held(target.name)

  -- Every check is above this line and every write below it: Redis does not roll back.
  ensure_generation()
  for _, amounts in ipairs({held, due, {negative(counter.reserved)}}) do sum_up(counter.key, amounts) end
  local lacks = call('HGET', counter.key, 'lacks') or '0'
  local gain = {}
  gain.spent, gain.spent_signed = change_to(spent_delta, '0')
  gain.reserved, gain.reserved_signed = change_to(lacks, '0')
  local change = {target = target, counter = counter, gain = gain}
  call('HDEL', counter.key, 'lacks')

  append(record_of(id, STATUS_REPAIRED, {change}, '', tail), 1, true)
  counter.repaired = seq_text
  call('HSET', counter.key, 'repaired', counter.repaired)
  -- As for a new one: the damage may have removed its expiry.
  counter.is_there = false
  if target.series then forget_series(target.series) end
  book({change}, NOW)
  -- The journal has led *spent*; a part of it that is more than the whole is not so.
  if tonumber(counter.spent) < tonumber(counter.adjusted) then
    counter.adjusted = counter.spent
    call('HSET', counter.key, 'adjusted', counter.adjusted)
  end
  return answer(STATUS_REPAIRED, nil, targets)
end
