-- Targets travel and are stored as one string, six words a counter: account period window starts_ms ends_ms limit
-- (nano-dollars, '-' for none). No word of the account grammar holds a space or a '|'.

local function counter_of(name)
  local known = counters[name]
  if not known then
    known = {key = PREFIX .. KEY_COUNTER .. ':' .. name, pending = PREFIX .. KEY_PENDING .. ':' .. name}
    counters[name] = known
  end
  return known
end

-- Then whether they are sound: nothing is left over, nothing lacks its end.
local function parse_targets(packed)
  local known = parsed[packed]
  if known then return known.targets, known.are_sound end
  local targets, read, are_limits_sound = {}, 0, true
  for account, period, window, starts, ends, limit in
      string.gmatch(packed, '(%S+) (%S+) (%S+) (%d+) (%d+) (%-?%d*)') do
    local name = account .. '|' .. period .. '|' .. window
    targets[#targets + 1] = {
      account = account, period = period, window = window, starts = tonumber(starts), ends = tonumber(ends),
      limit = limit, counter = counter_of(name),
    }
    read, are_limits_sound = read + #name + #starts + #ends + #limit + 4, are_limits_sound and limit ~= ''
  end
  -- Each is counted with the blank behind it, which the last one has not.
  local are_sound = are_limits_sound and (packed == '' or read == #packed + 1)
  parsed[packed] = {targets = targets, are_sound = are_sound}
  return targets, are_sound
end

local function kind_of(account)
  return match(account, '^[^:]+')
end

-- Each account once, whatever its periods.
local function accounts_in(targets)
  local accounts, seen = {}, {}
  for _, target in ipairs(targets) do
    if not seen[target.account] then accounts[#accounts + 1] = target.account end
    seen[target.account] = true
  end
  return accounts
end

local function kinds_of(targets)
  if targets.kinds then return targets.kinds end
  local kinds = accounts_in(targets)
  for index, account in ipairs(kinds) do kinds[index] = kind_of(account) end
  targets.kinds = concat(kinds, ' ')
  return targets.kinds
end

local function accounts_of(targets)
  local accounts = accounts_in(targets)
  table.sort(accounts)
  return concat(accounts, ' ')
end

local function outside_window(targets)
  for _, target in ipairs(targets) do
    if NOW < target.starts or NOW >= target.ends then return true end
  end
  return false
end
