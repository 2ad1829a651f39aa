-- What is pending stands in indexes by its deadline: that of all holds, and that of each counter.

local function indexes_of(record)
  local targets = record.target_list
  if record.is_previous then return previous_indexes(targets) end
  local indexes = {HOLDS}
  for at, target in ipairs(targets) do indexes[at + 1] = target.counter.index end
  return indexes
end

-- A renewal that the network has held back ends no lease sooner than a newer one has said.
local function renewed(record, lease_ms)
  return math.max(NOW + tonumber(lease_ms), tonumber(record.due))
end

-- A counter whose window is over outlives what it is held for.
local function outlive(targets, deadline)
  for at = 1, #targets do
    local target = targets[at]
    if deadline > target.counts_until then call('PEXPIRE', target.counter.key, whole(deadline - NOW + kept_ms(target.counter))) end
  end
end

-- A script has room for 200 local variables: what only this needs are those of a block.
local move_hold
do

-- What waits for these.
local function queues_of(record)
  local targets, found = record.target_list, {}
  if targets.queues and not record.is_previous then return targets.queues end
  for at, index in ipairs(indexes_of(record)) do found[at] = queue_of(index) end
  if not record.is_previous then targets.queues = found end
  return found
end

-- Moves a hold in its indexes from one deadline to another; '' is none. Where one of them is of another type, the call stops
-- here, and none has changed.
function move_hold(record, from, to)
  local into, id = not record.is_previous and record.target_list.queues or queues_of(record), record.id
  local problem, at = put(into, id, to)
  if problem then
    put({spread(into, 1, at - 1)}, id, from)
    error(problem)
  end
end

end
