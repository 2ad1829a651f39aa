-- How every verb begins and ends. It answers {status, now_ms, generation, seq, limits_version, recorded, rejection, records,
-- written, balances}. `recorded` are the fields of what was known instead. `records` are those of the
-- journal that the verb wrote; `written` is how many entries they have, also those that it does not tell.

local function answer(status, known, targets, rejection)
  ensure_generation()
  targets = targets or {}
  load_counters(targets)
  local balances = {}
  for _, target in ipairs(targets) do
    balances[#balances + 1] = target.counter.spent
    balances[#balances + 1] = target.counter.reserved
  end
  return {status, NOW, generation, seq, limits_version, known and known.fields or false,
    rejection or false, records, seq - seq_before, balances}
end

-- What is known of an id, after expiring it if its lease is over, and then due leases on its counters; its targets;
-- and whether there were any due leases at all.
local function open(id, packed)
  load_meta()
  local known = load_reservation(id)
  if known and is_due(known) then
    load_counters(known.target_list)
    expire(known, known.charge, '')
    known = load_reservation(id)
  end
  local targets = known and known.target_list or {}
  if #targets == 0 then targets = parse_targets(packed) end
  return known, targets, expire_due_on(targets)
end

-- What an ending ends, with its counters loaded, and what it answers; where there is nothing to end, nil and the answer.
local function open_to_end(op, id, packed, age_ms)
  local known, targets = open(id, packed)
  local status = ending_of(op, known and known.state or STATUS_UNKNOWN)
  if known and has_ended(known.state) then return nil, answer(status, known, known.target_list) end
  if not known and tonumber(age_ms) > tonumber(REMEMBER_MS) then return nil, answer(STATUS_TOO_OLD) end
  load_counters(targets)
  return known or new_reservation(id, packed, targets), status
end
