-- How every verb begins and ends. What an answer has stands in `redis/replies.py`. Each item of a reply costs the server as
-- much as a dozen steps of Lua, so what all answers have is one text, `head`. `recorded` is the text of what was known
-- instead; behind the fields come the records of the journal that the verb wrote; `written` is how many entries they have,
-- also those that it does not return.

local figures = {''}

-- Spent and reserved of each target, each behind a space.
local function balances_of(targets)
  load_counters(targets)
  local last = 1
  for at = 1, #targets do
    local counter = targets[at].compared
    figures[last + 1], figures[last + 2] = counter.spent, counter.reserved
    last = last + 2
  end
  return concat(figures, ' ', 1, last)
end

local function answer(status, known, targets, rejected_by)
  ensure_generation()
  local head = status .. ' ' .. NOW_MS .. ' ' .. generation .. ' ' .. seq_text .. ' ' .. limits_version
    .. (targets and balances_of(targets) or '')
  local recorded, rejection, written = known and known.text or false, rejected_by or false, seq - seq_before
  local reply = {REPLY_FIELDS, records[1]}
  for at = 2, #records do reply[#reply + 1] = records[at] end
  return reply
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
