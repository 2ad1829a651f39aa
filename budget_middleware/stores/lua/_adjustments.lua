-- Adjustments, in either format, and transfers: text as `2 adjusted amount=usd:100 sources=1`, and then the targets. Of a
-- transfer the first so many of these gave the amount to the others; to versions that know no transfers it is an adjustment.

-- What is known of an adjustment: its targets, its amounts, how many of the targets gave ('' for none); nil where there is
-- none.
local function find_adjustment(key)
  local text = try('GET', key)
  if not text then return nil end
  if type(text) == 'table' then
    local targets, amount = previous_adjustment(key)
    return targets, amount, ''
  end
  local version, fields, targets = match(text, '^(%d+) ' .. STATUS_ADJUSTED .. '([^\n]*)\n(.*)$')
  if version and is_newer(version) then fail('adjustment ' .. key .. ' ' .. newer(version)) end
  if not version then fail('adjustment ' .. key .. ' ' .. IS_DAMAGED) end
  return targets, match(fields, ' amount=([^ ]+)') or '', match(fields, ' sources=(%d+)') or ''
end

local function put_adjustment(key, packed, amount, n_sources)
  local text = FORMAT .. ' ' .. STATUS_ADJUSTED .. (amount == '' and '' or ' amount=') .. amount
    .. (n_sources == '' and '' or ' sources=') .. n_sources .. '\n' .. packed
  call('SET', key, text, 'PX', REMEMBER_MS)
end

-- Operators' own bookings count as `adjusted` beside *spent*.
local function book_by_hand(changes)
  book(changes, NOW)
  for _, change in ipairs(changes) do add(change.target.counter, 'adjusted', change.spent) end
end
