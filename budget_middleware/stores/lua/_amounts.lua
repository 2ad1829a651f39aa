-- Shared by what sums up what is pending on a counter.

local function is_on(targets, name)
  for _, target in ipairs(targets) do
    if target.name == name then return true end
  end
  return false
end

-- What pending reservations hold on a counter, by its name: the amounts of lasting leases, and of due ones.
local function amounts_held(name)
  local unit = match(name, '^[^|]+|[^|]+|[^|]+|(%l+)$') or UNIT_USD
  -- The buckets of a series share an index.
  local series = string.gsub(name, '^([^|]+|%d+[hd]|)[^|]+', '%1' .. SERIES)
  local held, due = {}, {}
  for _, index in ipairs({KEY_HELD_ON, KEY_PREVIOUS_HELD_ON}) do
    for _, id in ipairs(call('ZRANGE', PREFIX .. index .. ':' .. series, '0', '-1')) do
      local known = find_known_format(id)
      if known and known.state == STATE_PENDING and (series == name or is_on(known.target_list, name)) then
        local amounts = is_due(known) and due or held
        amounts[#amounts + 1] = amount_in(known.held, unit)
      end
    end
  end
  return held, due
end
