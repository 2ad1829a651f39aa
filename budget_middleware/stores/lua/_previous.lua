-- Reservations and adjustments in the previous format: hashes, and indexes of their own. Gateways of a version that writes
-- it may work on the same store. What is theirs is written back as they wrote it, so that they can end it themselves.
-- Once no such gateway is left and BUDGET_REMEMBER_S and a day are over, nothing of this is in a store any more.

-- A script has room for 200 local variables: what only this file needs are those of a block.
local previous_reservation, write_previous, previous_indexes, previous_adjustment
do

-- Their targets, six words each, as ours; false where they are not sound.
local function previous_targets(packed)
  local lines, read = {}, {}
  for account, period, window, starts, ends, limit in
      gmatch(packed, '(%S+) (%S+) (%S+) (%d+) (%d+) (%-?%d*)') do
    read[#read + 1] = concat({account, period, window, starts, ends, limit}, ' ')
    local from, to = starts == '0' and '0' or match(starts, '^(%d+)000$'), match(ends, '^(%d+)000$')
    if limit == '' or not (from and to) then return false end
    lines[#lines + 1] = account .. '|' .. period .. '|' .. window .. ' from=' .. from .. ' to=' .. to
      .. (limit == NO_LIMIT and '' or ' limit=' .. limit)
  end
  return concat(read, ' ') == packed and concat(lines, '\n')
end

local function usd(figure)
  return figure == '0' and '' or UNIT_USD .. ':' .. figure
end

function previous_reservation(id, key)
  local fields = try('HMGET', key, 'state', 'targets', 'amount', 'charge', 'actual', 'created', 'deadline', 'trace', 'seq',
    'asked')
  if fields.err then return nil, IS_DAMAGED end
  for index = 1, 8 do
    if not fields[index] then return nil, IS_DAMAGED end
  end
  local state, packed, amount, charge, actual, made, due, span, at, asked = spread(fields)
  local targets = previous_targets(packed)
  if not targets or not (is_figure(charge) and is_figure(actual)) then return nil, IS_DAMAGED end
  local record = new_reservation(id, key, state, targets, (parse_targets(targets)))
  record.is_previous = true
  asked = asked or amount
  record.asked, record.made = (asked == '0' or asked == '') and asked or usd(asked), made
  if state ~= STATE_FINALIZED then record.charge = usd(charge) end
  if state == STATE_FINALIZED then record.actual = usd(actual) end
  if state == STATE_PENDING then record.held, record.due, record.trace, record.seq = usd(amount), due, span, at or '' end
  if not (is_sound(record) and is_figure(due)) then return nil, IS_DAMAGED end
  record.text = text_of(record, record.targets)
  return record
end

function write_previous(record, lives_ms)
  call('HSET', record.key, 'state', record.state, 'charge', amount_in(record.charge, UNIT_USD),
    'actual', amount_in(record.actual, UNIT_USD))
  if record.due ~= '' then call('HSET', record.key, 'deadline', record.due) end
  local held, asked = amount_in(record.held, UNIT_USD), amount_in(record.asked, UNIT_USD)
  -- It has grown. Their gateways give back the amount, whatever was asked for.
  if record.state == STATE_PENDING and held ~= asked then call('HSET', record.key, 'amount', held, 'asked', asked) end
  if lives_ms then call('PEXPIRE', record.key, lives_ms) end
end

function previous_indexes(targets)
  local indexes = {PREFIX .. KEY_PREVIOUS_HOLDS}
  for at, target in ipairs(targets) do indexes[at + 1] = PREFIX .. KEY_PREVIOUS_HELD_ON .. ':' .. target.name end
  return indexes
end

-- What is known of an adjustment: its targets and its amounts.
function previous_adjustment(key)
  local fields = call('HMGET', key, 'targets', 'amount')
  local targets = fields[1] and previous_targets(fields[1])
  if not targets or not is_whole(fields[2] or '') then fail('adjustment ' .. key .. ' ' .. IS_DAMAGED) end
  return targets, usd(fields[2])
end

end
