-- How every verb begins and ends. What an answer has stands in `redis/replies.py`. `recorded` is the text of what was known
-- instead; `records` are those of the
-- journal that the verb wrote; `written` is how many entries they have, also those that it does not return.

local shown = {}

-- A table of its own for each verb, made in one step: one that grows is made again and again.
local function balances_of(targets)
  load_counters(targets)
  for at = 1, #targets do
    local counter = targets[at].compared
    shown[2 * at - 1], shown[2 * at] = counter.spent, counter.reserved
  end
  return {spread(shown, 1, 2 * #targets)}
end

local function answer(status, known, targets, rejected_by)
  ensure_generation()
  local balances = targets and balances_of(targets) or {}
  local now_ms, recorded, rejection = NOW, known and known.text or false, rejected_by or false
  local written = seq - seq_before
  return {REPLY_FIELDS}
end

-- What is known of an id, after expiring it if its lease is over, and then due leases on its counters; its targets;
-- and whether there were any due leases at all.
local function open(id, packed)
  load_meta()
  local known = load_reservation(id)
  if known and is_due(known) then
    load_counters(known.target_list)
    expire(known, known.charge, '')
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
  return known or new_reservation(id, reservation_key(id), STATE_RELEASED, packed, targets), status
end
