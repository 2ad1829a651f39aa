-- Set what a worker knew of limits before the store lost writes, wherever the store has nothing newer. The worker knew it as
-- of a version of a generation; '1' where it saw the loss itself: a new lineage then makes the other workers write back
-- what they knew. Then how many changes the log keeps, for how long it is remembered what was written back (milliseconds),
-- what fields a pattern has, and for each pattern three words: itself, its shape, and its fields' values in their order with
-- spaces between them ('.' for one that was not there). Several workers may do so, in any order: of each limit what was
-- known last stays, and what an operator has set or cleared since the loss. Returns {version, fields that were changed}.

-- Whether what is there of a limit, if anything, is older than what was known.
local function is_older(state, field, is_there, known_at, is_same_store)
  local written_back = call('HGET', WRITTEN_BACK, field)
  if written_back then return tonumber(written_back) < known_at end
  local changed_at = call('ZSCORE', LIMITS_LOG, field)
  -- Whatever is in a store that began again came after the loss.
  if not is_same_store then return not is_there and not changed_at end
  if state.has_log and changed_at then return tonumber(changed_at) <= known_at end
  local is_log_enough = state.has_log and state.log_from <= known_at or tonumber(limits_version) <= known_at
  return is_log_enough or not is_there
end

function verbs.write_back_limits(known_generation, known_version, reports_loss, changes_max, remembered_ms, names, ...)
  local state = load_limits()
  local known, known_at, is_same_store = {...}, tonumber(known_version), known_generation == generation
  names = words_of(names)
  local fields, shapes, values = {}, {}, {}
  for at = 1, #known, 3 do
    local wanted = words_of(known[at + 2])
    for index, name in ipairs(names) do
      fields[#fields + 1] = known[at] .. '|' .. name
      shapes[#fields], values[#fields] = known[at + 1], wanted[index] ~= '.' and wanted[index]
    end
  end
  local found, changed = limits_at(fields), {}
  for index, field in ipairs(fields) do
    local is_same = found[index] == values[index]
    if not is_same and is_older(state, field, found[index], known_at, is_same_store) then
      changed[#changed + 1] = index
    end
  end

  -- Every check is above this line and every write below it: Redis does not roll back.
  ensure_generation()
  if is_same_store and reports_loss == '1' then state.lineage = TOKEN end
  for at, index in ipairs(changed) do
    local field = fields[index]
    if values[index] then
      call('HSET', LIMITS, field, values[index])
      add_shapes(state, shapes[index])
    else
      call('HDEL', LIMITS, field)
    end
    changed[at] = field
  end
  if #changed > 0 then
    log_changes(state, changed, changes_max, math.max(NOW, known_at + 1))
    for _, field in ipairs(changed) do call('HSET', WRITTEN_BACK, field, known_version) end
    call('PEXPIRE', WRITTEN_BACK, remembered_ms)
  else
    write_state(state)
  end
  return {limits_version, changed}
end
