-- Leases that are over.

local TRIED_AGAIN_MS = 60000

-- Expires what a verb or a sweep meets in passing, in an index. Only a damaged store has a lease without its reservation, or
-- one that cannot be booked. Neither may stop others: the first is dropped, and an audit shows what it held; the second is
-- tried again later.
local function expire_id(id, index)
  local due, problem = find_reservation(id)
  local is_gone = not due and (not problem or problem == IS_DAMAGED)
  if is_gone or due and due.state ~= STATE_PENDING then
    call('ZREM', index, id)
    if index ~= HOLDS then try('ZREM', HOLDS, id) end
    return
  end
  local is_booked = due and pcall(load_counters, due.target_list) and pcall(expire, due, due.charge, '')
  if is_booked then return end
  write_all_waiting()
  local later = whole(NOW + TRIED_AGAIN_MS)
  call('ZADD', index, later, id)
  -- One of these keys may be what is damaged.
  for _, other in ipairs(due and indexes_of(due) or {}) do try('ZADD', other, later, id) end
end

local function first_due(index, count)
  write_waiting(index)
  return call('ZRANGEBYSCORE', index, '-inf', NOW_MS, 'LIMIT', '0', count)
end

local function expire_indexed(targets)
  local left = SWEPT_PER_VERB
  for _, target in ipairs(targets) do
    if left <= 0 then return end
    for _, id in ipairs(first_due(target.counter.index, whole(left))) do
      expire_id(id, target.counter.index)
      left = left - 1
    end
  end
end

-- Where nothing at all is due, nothing is on these. What a damaged store has on a counter alone is found when it refuses
-- somebody, and by an audit. A key of another type stops the call here. What gateways of the previous format hold is swept.
local function expire_due_on(targets)
  if is_nothing_due then return false end
  is_nothing_due = not first_due(HOLDS, '1')[1]
  if is_nothing_due then return false end
  expire_indexed(targets)
  return true
end

local function leases_due(targets)
  for _, target in ipairs(targets) do
    if first_due(target.counter.index, '1')[1] then return true end
  end
  return false
end
