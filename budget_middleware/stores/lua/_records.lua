-- Reservations and adjustments: text, `2 pending asked=usd:1200000 held=usd:1200000 …`, and then its targets. First the
-- format, then the state, then fields in any order, of which those that are empty are left out. What this version does not
-- know is kept where a record is rewritten.
--
-- Here a reservation is a record with its fields by name, all of them text. `seq` is where the journal has its reserve,
-- for a release to find; `made` and `due` are milliseconds; `more` is what is not known here.

local IS_DAMAGED = 'is damaged'

-- With whatever its state needs, and nothing that could not be booked. `asked` is '0' where a reserve asked for nothing: only
-- what came to its end without a reserve has none, and only such a release has no targets.
local function is_sound(record)
  local is_over = has_ended(record.state)
  local is_whole_record = is_over or is_over == false and record.asked ~= '' and #record.target_list > 0
  return is_whole_record and (record.state ~= STATE_PENDING or record.due ~= '')
    and (record.asked == '0' or are_amounts(record.asked))
    and are_amounts(record.held) and are_amounts(record.charge) and are_amounts(record.actual)
    and (record.made == '' or is_figure(record.made)) and (record.due == '' or is_figure(record.due))
end

-- Reads `name=value` into the fields of a record; whatever else there is, and whether that is all.
local function read_fields(record, fields)
  local read, more = 0, ''
  for name, value in gmatch(fields, ' ([%l_]+)=([^ ]+)') do
    read = read + #name + #value + 2
    if record[name] then record[name] = value else more = more .. ' ' .. name .. '=' .. value end
  end
  return more, read == #fields
end

-- One that is pending in the words and the order in which this version writes them; nil where it may yet be another.
local parse_reservation
do

local USUAL = '^' .. FORMAT_WORD .. ' ' .. STATE_PENDING
  .. ' asked=(%S+) held=(%S+)(.-) seq=(%d+) made=([1-9]%d*) due=([1-9]%d*)()'

-- The word of a field between two places, where nothing else is.
local function word_between(text, first, last, field)
  if first > last then return '' end
  local ends = first + #field
  if find(text, field, first, true) ~= first or ends > last then return nil end
  local word = sub(text, ends, last)
  return not find(word, ' ', 1, true) and word
end

-- A pattern takes a dozen steps for each letter: so it reads no trace and no targets. These are most often those that the verb
-- has brought.
local function parse_usual(id, key, text, packed)
  local asked, held, charge, at, made, due, behind = match(text, USUAL)
  local ends = asked and #made <= 18 and #due <= 18 and find(text, '\n', behind, true)
  if not ends then return nil end
  charge = charge == '' and '' or match(charge, '^ charge=(%S+)$')
  local span = word_between(text, behind, ends - 1, ' trace=')
  if not (charge and span) then return nil end
  if asked ~= '0' and not are_amounts(asked) or held ~= asked and not are_amounts(held) or not are_amounts(charge) then return nil end
  local is_packed = #text - ends == #packed and find(text, packed, ends + 1, true)
  local targets = is_packed and packed or sub(text, ends + 1)
  local target_list, are_targets_sound = parse_targets(targets)
  if not (are_targets_sound and target_list[1]) then return nil end
  local record = new_reservation(id, key, STATE_PENDING, targets, target_list)
  record.text, record.asked, record.held, record.charge, record.seq = text, asked, held, charge, at
  record.made, record.due, record.trace = made, due, span
  return record
end

-- The record of a text, or nil and what is wrong with it.
function parse_reservation(id, key, text, packed)
  local usual = parse_usual(id, key, text, packed)
  if usual then return usual end
  local version, state, fields, targets = match(text, '^(%d+) (%l+)([^\n]*)\n?(.*)$')
  if not version then return nil, IS_DAMAGED end
  if is_newer(version) then return nil, newer(version) end
  local record = new_fields()
  local more, are_fields_sound = read_fields(record, fields)
  local target_list, are_targets_sound = parse_targets(targets)
  record.id, record.key, record.text, record.state, record.more = id, key, text, state, more
  record.targets, record.target_list = targets, target_list
  if not (are_fields_sound and are_targets_sound and is_sound(record)) then return nil, IS_DAMAGED end
  return record
end

end
