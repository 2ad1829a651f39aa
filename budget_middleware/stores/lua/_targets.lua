-- Targets travel and are stored as text, a line each: `key:1f3a|day|2026-11-24 from=1763942400 to=1764028800
-- limit=10000000000`. First the name of the counter, with its unit unless that is money, then when its window begins and
-- ends (seconds), then its limit, if any. What a newer version adds to a line stays in it.

-- Of a rolling period (`24h`) each window is a bucket, a counter like any other; what its limit is compared with, and where
-- its leases stand, is its series: see `_series.lua`.
local function series_of(account, period, unit, length)
  local suffix = unit == '' and '' or '|' .. unit
  local name = account .. '|' .. period .. '|' .. SERIES .. suffix
  local known = series_by_name[name]
  if not known then
    known = {
      key = PREFIX .. KEY_SUM .. ':' .. name, index = PREFIX .. KEY_HELD_ON .. ':' .. name, numbers = {},
      first = account .. '|' .. period .. '|', last = suffix, length = length,
    }
    series_by_name[name] = known
    remembered = remembered + 1
  end
  return known
end

local function counter_of(name)
  local known = counters[name]
  if not known then
    known = {
      key = PREFIX .. KEY_COUNTER .. ':' .. name, index = PREFIX .. KEY_HELD_ON .. ':' .. name, numbers = {},
    }
    counters[name] = known
    remembered = remembered + 1
  end
  return known
end

local function is_carry_sound(carry)
  return is_figure(carry.carry) and is_figure(carry.of or '') and carry.previous ~= nil
end

-- The limit, or false; then whether what stands behind a window is made of fields; then what is carried over, if anything:
-- `carry=50 of=10000000000 previous=2026-10`.
local function limit_in(fields)
  if fields == '' then return false, true end
  local limit = match(fields, '^ limit=(%d+)$')
  if limit then return limit, true end
  local read, found = 0, {}
  for name, value in gmatch(fields, ' ([%l_]+)=([^ ]+)') do
    read, found[name] = read + #name + #value + 2, value
  end
  limit = found.limit
  return limit or false, read == #fields and (not limit or is_figure(limit)) and (not found.carry or is_carry_sound(found)),
    found.carry and found
end

-- Then whether they are sound. No word of the account grammar holds a space or a '|'.
local function parse_targets(packed)
  local known = parsed[packed]
  if known then return known, known.are_sound end
  -- Held within all windows from `starts` to `ends`; `changes`, and what those of a unit gain, is for changes_of.
  local targets, gains = {are_sound = true, starts = 0, ends = math.huge, totals = {}, changes = {}, all_changes = {}}, {}
  for line in gmatch(packed, '[^\n]+') do
    local name, account, period, unit, from, to, fields =
      match(line, '^(([^| ]+)|([%w@-]+)|[^| ]+|?(%l*)) from=(%d+) to=(%d+)(.*)$')
    local limit, is_sound, carry = limit_in(fields or '')
    targets.are_sound = targets.are_sound and is_sound and name ~= nil
    if name then
      local counter, ends = counter_of(name), to * 1000
      local target = {
        name = name, account = account, unit = unit == '' and UNIT_USD or unit, ends = ends, counts_until = ends,
        limit = limit and tonumber(limit), line = name .. (limit and ' limit=' .. limit or ''), counter = counter,
        compared = counter,
      }
      counter.is_short = to - from < SHORT_WINDOW_S
      if match(period, '^%d') then
        local series = series_of(account, period, unit, to - from)
        counter.index, counter.series, counter.starts = series.index, series, tonumber(from)
        target.series, target.compared, target.counts_until = series, series, ends + ROLLING_BUCKETS * series.length * 1000
        targets.are_rolling = true
      end
      if carry then
        target.counts_until = ends + LONGER_AT_MOST * (to - from) * 1000
        if limit then
          target.percent, target.base, target.of, targets.are_carried = tonumber(carry.carry), target.limit, tonumber(carry.of), true
          target.previous = counter_of(account .. '|' .. period .. '|' .. carry.previous .. (unit == '' and '' or '|' .. unit))
        end
      end
      gains[target.unit] = gains[target.unit] or {}
      target.gain = gains[target.unit]
      target.change = {target = target, counter = counter, gain = target.gain}
      targets.is_of_one_unit = not targets[1] or targets.is_of_one_unit and targets[1].unit == target.unit
      targets[#targets + 1] = target
      targets.all_changes[#targets] = target.change
      targets.starts, targets.ends = math.max(targets.starts, from * 1000), math.min(targets.ends, target.ends)
    end
  end
  parsed[packed] = targets
  remembered = remembered + 1
  return targets, targets.are_sound
end

-- The text of targets as an ended reservation keeps it.
local function without_limits(packed, targets)
  targets.without_limits = targets.without_limits or (string.gsub(packed, ' limit=%d+', ''))
  return targets.without_limits
end

-- Each account once, whatever its periods; of one unit, or of all.
local function accounts_in(targets, unit)
  local accounts, seen = {}, {}
  for _, target in ipairs(targets) do
    if not seen[target.account] and (not unit or target.unit == unit) then
      accounts[#accounts + 1], seen[target.account] = target.account, true
    end
  end
  return accounts
end

local function accounts_of(targets)
  local accounts = accounts_in(targets)
  table.sort(accounts)
  return concat(accounts, ' ')
end

-- The field of the totals for what these hold of a unit: the kinds of the accounts, and the unit unless it is money.
local function total_of(targets, unit)
  local field = targets.totals[unit]
  if not field then
    local kinds = accounts_in(targets, unit)
    for at, account in ipairs(kinds) do kinds[at] = match(account, '^[^:]+') end
    field = concat(kinds, ' ') .. (unit == UNIT_USD and '' or '|' .. unit)
    targets.totals[unit] = field
  end
  return field
end

local function outside_window(targets)
  return NOW < targets.starts or NOW >= targets.ends
end
