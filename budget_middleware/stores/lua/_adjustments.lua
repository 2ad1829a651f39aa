-- Adjustments, in either format, and transfers: text as `2 adjusted amount=usd:100 sources=1`, and then the targets. Of a
-- transfer the first so many of these gave the amount to the others; to versions that know no transfers it is an adjustment.
-- With ` as_of=1234` the amount is what all adjustments of this id have come to by then.

-- What is known of an adjustment: its targets, its amounts, how many of the targets gave ('' for none), as of what ('0' where
-- nothing comes later); nil where there is none.
local function find_adjustment(key)
  local text = try('GET', key)
  if not text then return nil end
  if type(text) == 'table' then
    local targets, amount = previous_adjustment(key)
    return targets, amount, '', '0'
  end
  local version, fields, targets = match(text, '^(%d+) ' .. STATUS_ADJUSTED .. '([^\n]*)\n(.*)$')
  if version and is_newer(version) then fail('adjustment ' .. key .. ' ' .. newer(version)) end
  if not version then fail('adjustment ' .. key .. ' ' .. IS_DAMAGED) end
  return targets, match(fields, ' amount=([^ ]+)') or '', match(fields, ' sources=(%d+)') or '', match(fields, ' as_of=(%d+)') or '0'
end

-- The names of the counters of targets.
local function counters_in(targets)
  local names = {}
  for at, target in ipairs(targets) do names[at] = target.name end
  return concat(names, ' ')
end

-- One that more may be added to is remembered as long as a counter of its targets.
local function adjustment_lasts_ms(targets)
  local last = NOW
  for _, target in ipairs(targets) do
    if target.ends >= FOREVER_MS then return nil end
    last = math.max(last, target.counts_until)
  end
  return whole(last + COUNTERS_MS - NOW)
end

local function put_adjustment(key, packed, amount, n_sources, as_of, targets)
  local text = FORMAT .. ' ' .. STATUS_ADJUSTED .. (amount == '' and '' or ' amount=') .. amount
    .. (n_sources == '' and '' or ' sources=') .. n_sources .. (as_of == '0' and '' or ' as_of=' .. as_of) .. '\n' .. packed
  local lasts_ms = REMEMBER_MS
  if as_of ~= '0' then lasts_ms = adjustment_lasts_ms(targets) end
  if lasts_ms then call('SET', key, text, 'PX', lasts_ms) else call('SET', key, text) end
end

-- Operators' own bookings count as `adjusted` beside *spent*.
local function book_by_hand(changes)
  book(changes, NOW)
  for _, change in ipairs(changes) do add(change.counter, 'adjusted', change.gain.spent, change.gain.spent_signed) end
end
