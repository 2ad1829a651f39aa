-- Add amounts (negative ones are credits) to what the targets have spent, once an id; in any window where the operator named
-- it. With `as_of` (else 0) the amount is what all adjustments of this id come to by then.

function verbs.adjust(id, packed, amount, any_window, tail, as_of)
  load_meta()
  local targets, key = parse_targets(packed), PREFIX .. KEY_ADJUSTMENT .. ':' .. id
  expire_due_on(targets)
  local known_targets, known_amount, n_sources, known_as_of = find_adjustment(key)
  local before = ''
  if known_targets then
    local same = n_sources == '' and (known_as_of == '0') == (as_of == '0')
    if as_of ~= '0' then
      same = same and counters_in(parse_targets(known_targets)) == counters_in(targets)
    else
      same = same and known_amount == amount and accounts_of(parse_targets(known_targets)) == accounts_of(targets)
    end
    if not same then return answer(STATUS_CONFLICT, nil, targets) end
    if tonumber(known_as_of) >= tonumber(as_of) then return answer(STATUS_DUPLICATE, nil, targets) end
    before = known_amount
  end
  if any_window ~= '1' and outside_window(targets) then return answer(STATUS_STALE_WINDOW, nil, targets) end

  load_counters(targets)
  -- Nothing is no change, and so does not lengthen how long a counter is kept.
  local changes = changes_of(targets, amount, before, '', '')
  -- Every check is above this line and every write below it: Redis does not roll back. What can fail comes first.
  if changes[1] then append(record_of(id, STATUS_ADJUSTED, changes, '', tail), #changes, true) end
  ensure_generation()
  put_adjustment(key, packed, amount, '', as_of, targets)
  book_by_hand(changes)
  return answer(STATUS_ADJUSTED, nil, targets)
end
