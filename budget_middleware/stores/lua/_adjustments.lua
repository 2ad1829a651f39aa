-- Adjustments, in either format.

-- What is known of an adjustment: its targets, its amounts; nil where there is none.
local function find_adjustment(key)
  local text = try('GET', key)
  if not text then return nil end
  if type(text) == 'table' then return previous_adjustment(key) end
  local version, fields, targets = match(text, '^(%d+) ' .. STATUS_ADJUSTED .. '([^\n]*)\n(.*)$')
  if version and is_newer(version) then fail('adjustment ' .. key .. ' ' .. newer(version)) end
  if not version then fail('adjustment ' .. key .. ' ' .. IS_DAMAGED) end
  return targets, match(fields, ' amount=([^ ]+)') or ''
end
