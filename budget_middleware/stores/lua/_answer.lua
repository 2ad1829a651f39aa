-- How every verb begins and ends. An answer is one text: for each list within a reply the server takes 16 KB at first, and
-- each item costs as much as a dozen steps of Lua. Its parts stand between separators that nobody can guess: the head, as
-- `redis/replies.py` has it; the text of what was known instead, if anything; and the records of the journal that the verb wrote. Of
-- a call of several verbs, whose reply is a list all the same, it says how many records there are, and they stand behind it: so
-- nobody copies them.

local balances_of
do

local figures = {''}

-- Spent and reserved of each target, each behind a space.
function balances_of(targets)
  if targets.as_of ~= this_call or targets.are_carried then load_counters(targets) end
  local last = 1
  for at = 1, #targets do
    local counter = targets[at].compared
    figures[last + 1], figures[last + 2] = counter.spent, counter.reserved
    last = last + 2
  end
  return concat(figures, ' ', 1, last)
end

end

-- `written` is how many entries the records have, also those that are not returned; `rejection` is one word, '-' for none.
local function answer(status, known, targets, rejected_by)
  if not (generation and is_format_recorded) then ensure_generation() end
  local now_ms, written, rejection = NOW_MS, text_of_count(seq - seq_before), rejected_by or '-'
  local behind = ''
  if n_records > 0 then
    behind = ENDING == '' and text_of_count(n_records) or n_records == 1 and records[1] or concat(records, SEPARATOR, 1, n_records)
  end
  return HEAD_WORDS .. (targets and balances_of(targets) or '') .. SEPARATOR .. (known and known.text or '')
    .. (n_records > 0 and SEPARATOR or '') .. behind .. ENDING
end

-- What is known of an id, after expiring it if its lease is over, and then due leases on its counters; its targets;
-- and whether there were any due leases at all.
local function open(id, packed)
  load_meta()
  local known = load_reservation(id, packed)
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
