-- Add amounts (negative ones are credits) to what the targets have spent, once an id; in any window where the operator named
-- it.

function verbs.adjust(id, packed, amount, any_window, tail)
  load_meta()
  local targets, key = parse_targets(packed), PREFIX .. KEY_ADJUSTMENT .. ':' .. id
  expire_due_on(targets)
  local known_targets, known_amount, n_sources = find_adjustment(key)
  if known_targets then
    local same = n_sources == '' and known_amount == amount
      and accounts_of(parse_targets(known_targets)) == accounts_of(targets)
    return answer(same and STATUS_DUPLICATE or STATUS_CONFLICT, nil, targets)
  end
  if any_window ~= '1' and outside_window(targets) then return answer(STATUS_STALE_WINDOW, nil, targets) end

  load_counters(targets)
  -- Nothing is no change, and so does not lengthen how long a counter is kept.
  local changes = changes_of(targets, amount, '', '', '')
  -- Every check is above this line and every write below it: Redis does not roll back. What can fail comes first.
  if changes[1] then append(record_of(id, STATUS_ADJUSTED, changes, '', tail), #changes, true) end
  ensure_generation()
  put_adjustment(key, packed, amount, '')
  book_by_hand(changes)
  return answer(STATUS_ADJUSTED, nil, targets)
end
