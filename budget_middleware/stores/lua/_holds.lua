-- What is pending stands in indexes by its deadline: that of all holds, and that of each counter.

local function indexes_of(record)
  local targets = record.target_list
  if record.is_previous then return previous_indexes(targets) end
  if not targets.indexes then
    targets.indexes = {HOLDS}
    for at, target in ipairs(targets) do targets.indexes[at + 1] = target.counter.index end
  end
  return targets.indexes
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

-- Moves a hold in its indexes from one deadline to another; '' is none. Where one of them is of another type, the call stops
-- here, and none has changed.
local function move_hold(record, from, to)
  local indexes, id = indexes_of(record), record.id
  for at = 1, #indexes do
    local problem = put(indexes[at], id, to)
    if problem then
      local changed = {id = id, target_list = {indexes = {spread(indexes, 1, at - 1)}}}
      move_hold(changed, to, from)
      error(problem)
    end
  end
end
