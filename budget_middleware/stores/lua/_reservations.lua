-- What is known of an id: a hash, here a record with its fields by name, all of them text. `targets` is packed text,
-- `target_list` what it says, and `seq` where the record of its reserve is in the journal, for a release to find. What is pending stands in two indexes by its deadline: LEASES, and that of each counter.

local function reservation_key(id)
  return PREFIX .. KEY_RESERVATION .. ':' .. id
end

-- One reservation's record, or nil; then whether there is one that does not parse.
local function find_reservation(id)
  local key = reservation_key(id)
  local fields = read_reservation(key)
  if fields.err then return nil, true end
  for index = 1, RESERVATION_FIELD_COUNT do
    -- A hash that has none of them is none of ours.
    if not fields[index] then return nil, index > 1 or call('EXISTS', key) == 1 end
  end
  local record = record_of(id, key, fields)
  local targets, are_targets_sound = parse_targets(record.targets)
  local amount, is_over = record.amount, has_ended(record.state)
  local are_numbers = is_amount(record.charge) and is_amount(record.actual) and is_amount(record.created)
    and is_amount(record.deadline) and (amount == '' or is_amount(amount))
  -- Only what came to its end without a reserve has no amount, and only such a release has no targets.
  local is_whole_record = is_over or is_over == false and amount ~= '' and #targets > 0
  if not (are_numbers and are_targets_sound and is_whole_record) then return nil, true end
  record.target_list = targets
  return record, false
end

-- A record that does not parse stops the call before anything is written.
local function load_reservation(id)
  local known, is_damaged = find_reservation(id)
  if is_damaged then fail('reservation ' .. id .. ' is damaged') end
  return known
end

-- Of an id that the store does not know: it has no amount, so that any reserve which comes later is the same.
local function new_reservation(id, packed, targets)
  return {
    id = id, key = reservation_key(id), state = STATE_RELEASED, targets = packed, amount = '', charge = '0', actual = '0',
    created = '0', deadline = '0', trace = '', seq = '0', target_list = targets, is_new = true,
  }
end

local function is_due(record)
  return record.state == STATE_PENDING and NOW >= tonumber(record.deadline)
end

local function put_lease(id, targets, deadline)
  local score = whole(deadline)
  call('ZADD', LEASES, score, id)
  for _, target in ipairs(targets) do
    local counter = target.counter
    local added = call('ZADD', counter.pending, score, id)
    counter.holds = counter.holds and counter.holds + added
  end
  is_nothing_due = is_nothing_due and deadline > NOW
end

local function drop_hold(counter, id)
  local dropped = call('ZREM', counter.pending, id)
  counter.holds = counter.holds and counter.holds - dropped
end

local function drop_lease(id, targets)
  call('ZREM', LEASES, id)
  for _, target in ipairs(targets) do drop_hold(target.counter, id) end
end
