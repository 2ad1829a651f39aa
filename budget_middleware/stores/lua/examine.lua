-- What of some keys is no sound record of this ledger, and with '1' first mend what follows from other records: the
-- indexes of leases, and the totals by kinds. The keys come without their prefix.
-- Returns {flaw, key, flaw, key, …}.

local mends, found = false, {}
local function tell(flaw, key)
  found[#found + 1] = flaw
  found[#found + 1] = key
end

-- Redis tells the type in a table of its own.
local function type_of(name)
  return call('TYPE', PREFIX .. name).ok
end

local function is_counter_name(name)
  local period = match(name, '^[^| ]+|(%l+)|[^| ]+$')
  return period ~= nil and PERIODS[period] == true
end

local function examine_index(name)
  for _, id in ipairs(call('ZRANGE', PREFIX .. name, '0', '-1')) do
    local known, is_damaged = find_reservation(id)
    if not is_damaged and (not known or known.state ~= STATE_PENDING) then
      tell('lease_without_reservation', 'r:' .. id)
      if mends then call('ZREM', PREFIX .. name, id) end
    end
  end
end

local function is_in(index, id)
  -- A number comes as a string; a damaged index has its own flaw.
  return type(redis.pcall('ZSCORE', index, id)) == 'string'
end

local function examine_reservation(id)
  local known, is_damaged = find_reservation(id)
  if is_damaged then return tell('unreadable', 'r:' .. id) end
  if not known or known.state ~= STATE_PENDING then return end
  local indexes, is_whole_lease = {LEASES}, true
  for _, target in ipairs(known.target_list) do indexes[#indexes + 1] = target.counter.pending end
  for _, index in ipairs(indexes) do
    if not is_in(index, id) then
      is_whole_lease = false
      if mends then redis.pcall('ZADD', index, known.deadline, id) end
    end
  end
  if not is_whole_lease then tell('reservation_without_lease', 'r:' .. id) end
end

local function held_by_kinds()
  local sums = {}
  for _, id in ipairs(call('ZRANGE', LEASES, '0', '-1')) do
    local known = find_reservation(id)
    if known and known.state == STATE_PENDING then
      local kinds = kinds_of(known.target_list)
      sums[kinds] = (sums[kinds] or 0) + tonumber(known.amount)
    end
  end
  return sums
end

local function examine_totals()
  local leases_type = type_of(KEY_LEASES)
  if leases_type ~= KEY_TYPES.leases and leases_type ~= 'none' then return end
  local sums, totals, is_wrong = held_by_kinds(), redis.pcall('HGETALL', TOTALS), false
  if totals.err then totals, is_wrong = {}, true end
  local told = {}
  for index = 1, #totals, 2 do told[totals[index]] = totals[index + 1] end
  for kinds, nanos in pairs(told) do is_wrong = is_wrong or nanos ~= whole(sums[kinds] or 0) end
  for kinds, nanos in pairs(sums) do is_wrong = is_wrong or whole(nanos) ~= (told[kinds] or '0') end
  if not is_wrong then return end
  tell('wrong_total', KEY_TOTALS)
  if mends then
    call('DEL', TOTALS)
    for kinds, nanos in pairs(sums) do call('HSET', TOTALS, kinds, whole(nanos)) end
  end
end

local function examine_hash(name)
  -- Of limits there may be 100,000; their fields are read in pages, elsewhere.
  if match(name, '^limits') then return end
  local fields = call('HGETALL', PREFIX .. name)
  local told = {}
  for index = 1, #fields, 2 do told[fields[index]] = fields[index + 1] end
  if name == KEY_META then
    local is_sound = is_meta_sound(told.seq or '0', told.limits_version or '0', told.bookings or '0', told.entries or '0')
    if not is_sound then tell('unreadable', name) end
  elseif match(name, '^c:') then
    for _, figure in ipairs({told.spent or '0', told.reserved or '0', told.adjusted or '0'}) do
      if not is_whole(figure) then return tell('unreadable', name) end
    end
  elseif match(name, '^a:') then
    local _, is_sound = parse_targets(told.targets or ' ')
    if not (is_sound and told.targets and is_whole(told.amount or '')) then tell('unreadable', name) end
  end
end

local function examine(name)
  local kind = match(name, '^([acpr]):.') or name
  local is_named_well = KEY_TYPES[kind] and (kind ~= KEY_COUNTER and kind ~= KEY_PENDING or is_counter_name(string.sub(name, 3)))
  if not is_named_well then return tell('foreign', name) end
  if kind == KEY_TOTALS then return examine_totals() end
  local its_type = type_of(name)
  if its_type == 'none' then return end
  if its_type ~= KEY_TYPES[kind] then return tell('wrong_type', name) end
  if kind == KEY_RESERVATION then return examine_reservation(string.sub(name, 3)) end
  if kind == KEY_PENDING or kind == KEY_LEASES then return examine_index(name) end
  if its_type == 'hash' then examine_hash(name) end
end

function verbs.examine(wants_mending, ...)
  mends = wants_mending == '1'
  for _, name in ipairs({...}) do examine(name) end
  return found
end
