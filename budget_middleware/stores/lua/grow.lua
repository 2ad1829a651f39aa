-- Hold at least so much of each unit from now on, whatever the limits, and renew the lease: the answer has come to it.

-- The larger of two amounts, unit by unit. Units that this version does not know stay as they are.
local function larger_of(held, to)
  for unit, wanted in gmatch(to, '(%l+):(%d+)') do
    local kept = amount_in(held, unit)
    if kept == '0' then
      held = held .. (held == '' and '' or ',') .. unit .. ':' .. wanted
    elseif tonumber(wanted) > tonumber(kept) then
      held = string.gsub(held, unit .. ':' .. kept, unit .. ':' .. wanted)
    end
  end
  return held
end

function verbs.grow(id, to, tail)
  local lease_ms, wanted = settings[1], settings[2]
  wants_entries = wanted == '1'
  local known, targets = open(id, '')
  local status = extension_of(known and known.state or STATUS_UNKNOWN)
  if status ~= STATUS_EXTENDED then return answer(status, known, known and targets) end

  load_counters(targets)
  local held, deadline, due_before = larger_of(known.held, to), renewed(known, lease_ms), known.due
  check_not_full(targets, held, known.held)
  local booked_before, held_before = figures_of(known)
  known.held, known.due = held, whole(deadline)
  write_change(known, STATUS_GROWN, booked_before, held_before, due_before, '', tail)
  outlive(targets, deadline)
  is_nothing_due = is_nothing_due and deadline > NOW
  return answer(STATUS_GROWN, nil, targets)
end
