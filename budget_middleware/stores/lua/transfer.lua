-- Move what may be spent: add amounts to what the sources have spent, and take them from what the destinations have, once an
-- id. All or nothing, and nothing where a source has not so much available. Rejection: as of a reserve.

-- Those who gave and those who got, each account once.
local function parties_of(packed, n_sources)
  local given, got, at = {}, {}, 0
  for line in gmatch(packed, '[^\n]+') do
    at = at + 1
    local side = at <= n_sources and given or got
    side[#side + 1] = line
  end
  return accounts_of(parse_targets(concat(given, '\n'))) .. ' > ' .. accounts_of(parse_targets(concat(got, '\n')))
end

function verbs.transfer(id, sources_packed, destinations_packed, amount, any_window, tail)
  load_meta()
  local key, packed = PREFIX .. KEY_ADJUSTMENT .. ':' .. id, sources_packed .. '\n' .. destinations_packed
  local sources, destinations, targets = parse_targets(sources_packed), parse_targets(destinations_packed), parse_targets(packed)
  local were_due = expire_due_on(targets)
  local known_targets, known_amount, known_sources = find_adjustment(key)
  if known_targets then
    local same = known_amount == amount and known_sources == whole(#sources)
      and parties_of(known_targets, #sources) == parties_of(packed, #sources)
    return answer(same and STATUS_DUPLICATE or STATUS_CONFLICT, nil, targets)
  end
  if any_window ~= '1' and outside_window(targets) then return answer(STATUS_STALE_WINDOW, nil, targets) end

  load_counters(targets)
  load_counters(sources)
  load_counters(destinations)
  local worst = find_rejection(sources, amount)
  if worst and not worst.is_spent and were_due and leases_due(sources) then return answer(STATUS_LEASES_DUE, nil, targets) end
  if worst then return answer(STATUS_REJECTED, nil, targets, rejection_of(sources, worst)) end
  local changes = {spread(changes_of(sources, amount, '', '', ''))}
  for _, change in ipairs(changes_of(destinations, '', amount, '', '')) do changes[#changes + 1] = change end
  -- Every check is above this line and every write below it: Redis does not roll back. What can fail comes first.
  if changes[1] then append(record_of(id, STATUS_TRANSFERRED, changes, '', tail), #changes, true) end
  ensure_generation()
  put_adjustment(key, packed, amount, whole(#sources), '0')
  book_by_hand(changes)
  return answer(STATUS_TRANSFERRED, nil, targets)
end
