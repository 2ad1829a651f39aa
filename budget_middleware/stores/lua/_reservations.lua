-- What is known of an id, in either format.

local reservation_key
do

local last_id, last_prefix, last_key

-- A reserve asks twice.
function reservation_key(id)
  if id ~= last_id or PREFIX ~= last_prefix then
    last_id, last_prefix, last_key = id, PREFIX, PREFIX .. KEY_RESERVATION .. ':' .. id
  end
  return last_key
end

end

-- A script has room for 200 local variables: what only this needs are those of a block.
local write_reservation, find_reservation
do

local HELD_LATELY_MAX = 500

-- The next verb of a hold most often finds it as this one has left it.
local function remember_hold(record)
  if n_held_lately == HELD_LATELY_MAX then held_lately, n_held_lately = {}, 0 end
  held_lately[record.key], n_held_lately = record, n_held_lately + 1
end

-- A record is used once: the verb that takes it changes it, and may fail.
local function take_hold(key, text)
  local record = held_lately[key]
  if not record then return nil end
  held_lately[key], n_held_lately = nil, n_held_lately - 1
  return record.text == text and record
end

-- The text of an ended reservation lives as long as its id is known, and nobody needs its limits any more.
function write_reservation(record, lives_ms)
  record.text = text_of(record, has_ended(record.state) and without_limits(record.targets, record.target_list) or record.targets)
  if record.is_previous then
    write_previous(record, lives_ms)
  elseif lives_ms then
    call('SET', record.key, record.text, 'PX', lives_ms)
  else
    call('SET', record.key, record.text)
    remember_hold(record)
  end
end

-- What is known of an id: a record, or nil and what is wrong with the one that is there. It may have the targets that a verb brings.
function find_reservation(id, packed)
  local key = reservation_key(id)
  local text = try('GET', key)
  if not text then return nil end
  if type(text) == 'table' then return previous_reservation(id, key) end
  local known = take_hold(key, text)
  if known then return known end
  return parse_reservation(id, key, text, packed or '')
end

end

-- The same for what sums up: it stops at a record of a newer version, for that may hold anything.
local function find_known_format(id)
  local known, problem = find_reservation(id)
  if problem and problem ~= IS_DAMAGED then fail('reservation ' .. id .. ' ' .. problem, true) end
  return known, problem
end

-- A record that does not parse stops the call before anything is written.
local function load_reservation(id, packed)
  local known, problem = find_reservation(id, packed)
  if problem then fail('reservation ' .. id .. ' ' .. problem) end
  return known
end

local function is_due(record)
  return record.state == STATE_PENDING and NOW >= tonumber(record.due)
end
