-- Leases that are over.

local TRIED_AGAIN_MS = 60000

-- Expires what a verb or a sweep meets in passing, in the index of a counter or, without one, in LEASES. Only a damaged
-- store has a lease without its reservation, or one that cannot be booked. Neither may stop others: the first is dropped,
-- and an audit shows what it held; the second is tried again later.
local function expire_id(id, counter)
  if counter then drop_hold(counter, id) else call('ZREM', LEASES, id) end
  local due = find_reservation(id)
  if not due or due.state ~= STATE_PENDING then
    call('ZREM', LEASES, id)
  elseif pcall(load_counters, due.target_list) then
    expire(due, due.charge, '')
  else
    local later = whole(NOW + TRIED_AGAIN_MS)
    call('ZADD', LEASES, later, id)
    -- One of these keys may be what is damaged.
    for _, target in ipairs(due.target_list) do
      redis.pcall('ZADD', target.counter.pending, later, id)
      target.counter.holds = nil
    end
    if counter then call('ZADD', counter.pending, later, id) end
  end
end

local function first_due(leases, count)
  return call('ZRANGEBYSCORE', leases, '-inf', whole(NOW), 'LIMIT', '0', whole(count))
end

local function expire_indexed(targets)
  local left = SWEPT_PER_VERB
  for _, target in ipairs(targets) do
    if left <= 0 then return end
    for _, id in ipairs(first_due(target.counter.pending, left)) do
      expire_id(id, target.counter)
      left = left - 1
    end
  end
end

-- Where nothing at all is due, nothing is on these. What a damaged store has on a counter alone is found when it refuses
-- somebody, and by an audit. A key of another type stops the call here.
local function expire_due_on(targets)
  if is_nothing_due then return false end
  is_nothing_due = not first_due(LEASES, 1)[1]
  if is_nothing_due then return false end
  expire_indexed(targets)
  return true
end

local function leases_due(targets)
  for _, target in ipairs(targets) do
    if first_due(target.counter.pending, 1)[1] then return true end
  end
  return false
end
