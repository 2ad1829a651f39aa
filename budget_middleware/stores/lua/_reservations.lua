-- What is known of an id, in either format.

local function reservation_key(id)
  return PREFIX .. KEY_RESERVATION .. ':' .. id
end

-- The text of an ended reservation lives as long as its id is known, and nobody needs its limits any more.
local function write_reservation(record, lives_ms)
  record.text = text_of(record, has_ended(record.state) and without_limits(record.targets, record.target_list) or record.targets)
  if record.is_previous then
    write_previous(record, lives_ms)
  elseif lives_ms then
    call('SET', record.key, record.text, 'PX', lives_ms)
  else
    call('SET', record.key, record.text)
  end
end

-- What is known of an id: a record, or nil and what is wrong with the one that is there. It may have the targets that a verb brings.
local function find_reservation(id, packed)
  local key = reservation_key(id)
  local text = try('GET', key)
  if not text then return nil end
  if type(text) == 'table' then return previous_reservation(id, key) end
  return parse_reservation(id, key, text, packed or '')
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
