-- What of some keys is no sound record of this ledger, and with '1' first mend what follows from other records: the
-- indexes of leases, and the totals by kinds. The keys come without their prefix.
-- Returns {flaw, key, flaw, key, …}.

do

local mends, found

local function report(flaw, key)
  found[#found + 1] = flaw
  found[#found + 1] = key
end

-- Redis replies with the type in a table.
local function type_of(name)
  return call('TYPE', PREFIX .. name).ok
end

-- `day`, `month@15`, `24h`.
local function is_period(text)
  return PERIODS[match(text, '^(%l+)@[%w-]+$') or text] or match(text, '^[1-9]%d*[hd]$') ~= nil
end

local function is_counter_name(name)
  local period, unit = match(name, '^[^| ]+|([%w@-]+)|[^| ]+|?(%l*)$')
  return period ~= nil and is_period(period) and (unit == '' or place_of(unit) ~= nil and unit ~= UNIT_USD)
end

local function examine_index(name)
  for _, id in ipairs(call('ZRANGE', PREFIX .. name, '0', '-1')) do
    local known, is_damaged = find_known_format(id)
    if not is_damaged and (not known or known.state ~= STATE_PENDING) then
      report('lease_without_reservation', 'r:' .. id)
      if mends then call('ZREM', PREFIX .. name, id) end
    end
  end
end

local function is_in(index, id)
  -- A number comes as a string; a damaged index has its own flaw.
  return type(try('ZSCORE', index, id)) == 'string'
end

local function examine_reservation(id)
  local known, is_damaged = find_known_format(id)
  if is_damaged then return report('unreadable', 'r:' .. id) end
  if not known or known.state ~= STATE_PENDING then return end
  local is_whole_lease = true
  for _, index in ipairs(indexes_of(known)) do
    if not is_in(index, id) then
      is_whole_lease = false
      if mends then try('ZADD', index, known.due, id) end
    end
  end
  if not is_whole_lease then report('reservation_without_lease', 'r:' .. id) end
end

local function held_by_kinds()
  for _, index in ipairs({KEY_HOLDS, KEY_PREVIOUS_HOLDS}) do
    for _, id in ipairs(call('ZRANGE', PREFIX .. index, '0', '-1')) do
      local known = find_known_format(id)
      if known and known.state == STATE_PENDING then
        add_to_totals(known.target_list, changes_of(known.target_list, '', '', known.held, ''))
      end
    end
  end
  local sums = changed_totals
  changed_totals = {}
  return sums
end

local function examine_totals()
  for _, index in ipairs({KEY_HOLDS, KEY_PREVIOUS_HOLDS}) do
    local its_type = type_of(index)
    if its_type ~= KEY_TYPES[index] and its_type ~= 'none' then return end
  end
  local sums, totals, is_wrong = held_by_kinds(), try('HGETALL', TOTALS), false
  if totals.err then totals, is_wrong = {}, true end
  local recorded = {}
  for index = 1, #totals, 2 do recorded[totals[index]] = totals[index + 1] end
  for kinds, nanos in pairs(recorded) do is_wrong = is_wrong or nanos ~= whole(sums[kinds] or 0) end
  for kinds, nanos in pairs(sums) do is_wrong = is_wrong or whole(nanos) ~= (recorded[kinds] or '0') end
  if not is_wrong then return end
  report('wrong_total', KEY_TOTALS)
  if mends then
    call('DEL', TOTALS)
    for kinds, nanos in pairs(sums) do call('HSET', TOTALS, kinds, whole(nanos)) end
  end
end

local function examine_hash(name)
  -- Of limits there may be 100,000; their fields are read in pages, elsewhere.
  if match(name, '^limits') then return end
  local fields = call('HGETALL', PREFIX .. name)
  local values = {}
  for index = 1, #fields, 2 do values[fields[index]] = fields[index + 1] end
  if name == KEY_META then
    local is_sound = is_meta_sound(
      values.generation or '', values.seq or '0', values.limits_version or '0', values.bookings or '0', values.entries or '0'
    )
    if not is_sound then report('unreadable', name) end
  elseif match(name, '^c:') then
    for _, figure in ipairs({values.spent or '0', values.reserved or '0', values.adjusted or '0'}) do
      if not is_whole(figure) then return report('unreadable', name) end
    end
  end
end

local function examine_adjustment(name)
  local is_read, targets, amount = pcall(find_adjustment, PREFIX .. name)
  local _, is_sound = parse_targets(is_read and targets or ' ')
  if not is_sound or not are_amounts((string.gsub(amount, ':%-', ':'))) then report('unreadable', name) end
end

local function examine_learnt(name)
  if read_sums(call('GET', PREFIX .. name) or '') then return end
  report('unreadable', name)
  if mends then call('DEL', PREFIX .. name) end
end

-- A sum that is not that of its buckets is made again by the next verb that misses it.
local function examine_sum(name)
  local figures = call('HMGET', PREFIX .. name, 'spent', 'reserved', 'at')
  local account, period, unit = match(name, '^%l:([^|]+)|(%d+[hd])|[^|]+|?(%l*)$')
  local hours = tonumber(match(period, '%d+')) * (match(period, 'd') and 24 or 1)
  local series = series_of(account, period, unit, hours * 3600 / ROLLING_BUCKETS)
  series.at = tonumber(figures[3] or '')
  if series.at then sum_up_buckets(series) end
  if series.at and series.spent == figures[1] and series.reserved == figures[2] then return end
  report('wrong_total', name)
  if mends then call('DEL', PREFIX .. name) end
end

local function examine_shadow(name)
  local fields = call('HGETALL', PREFIX .. name)
  for at = 1, #fields, 2 do
    local is_sound = fields[at] == LEFT_OUT and is_figure(fields[at + 1]) or read_shadow_sum(fields[at + 1])
    if not is_sound then return report('unreadable', name) end
  end
end

local HAVE_COUNTERS = {[KEY_COUNTER] = true, [KEY_HELD_ON] = true, [KEY_SUM] = true, [KEY_PREVIOUS_HELD_ON] = true}
local INDEXES = {
  [KEY_HOLDS] = true, [KEY_HELD_ON] = true, [KEY_PREVIOUS_HOLDS] = true, [KEY_PREVIOUS_HELD_ON] = true,
}

local function examine(name)
  local kind = match(name, '^([acefhoprstw]):.') or name
  local is_named_well = KEY_TYPES[kind] and (not HAVE_COUNTERS[kind] or is_counter_name(string.sub(name, 3)))
  if not is_named_well then return report('foreign', name) end
  if kind == KEY_TOTALS then return examine_totals() end
  local its_type = type_of(name)
  if its_type == 'none' then return end
  if its_type ~= KEY_TYPES[kind] and its_type ~= PREVIOUS_TYPES[kind] then return report('wrong_type', name) end
  if kind == KEY_RESERVATION then return examine_reservation(string.sub(name, 3)) end
  if kind == KEY_ADJUSTMENT then return examine_adjustment(name) end
  if kind == KEY_LEARNT then return examine_learnt(name) end
  if kind == KEY_SUM then return examine_sum(name) end
  if INDEXES[kind] then return examine_index(name) end
  if kind == KEY_SHADOW then return examine_shadow(name) end
  if its_type == 'hash' then examine_hash(name) end
end

function verbs.examine(wants_mending, ...)
  mends, found = wants_mending == '1', {}
  for _, name in ipairs({...}) do examine(name) end
  return found
end

end
