-- Theory of operation. The limit of a rolling period is compared with the sum of the bucket of now and the sixty before it.
-- Reading all of these for each verb would take longer than the verb, so the sum is kept: a hash with spent, reserved, and
-- `at`, when the last bucket of it begins (seconds). Whatever changes a bucket that counts changes the sum in the same step.
-- When the next bucket begins, the sum is made again from the counters, and so it is where it is missing: nothing else hangs
-- on it. It lasts as long as its bucket.

-- A script has room for 200 local variables: what only this file needs are those of a block.
local sum_up_buckets
do

local MONTHS = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}
local floor = math.floor
local dated, date = nil, nil
local windows_by_length = {}

local function days_before(year)
  return 365 * (year - 1970) + floor((year - 1969) / 4) - floor((year - 1901) / 100) + floor((year - 1601) / 400)
end

-- The ISO date of a day since 1970.
local function date_of(day)
  local year = 1970 + floor(day / 365.2425)
  if days_before(year) > day then year = year - 1 elseif days_before(year + 1) <= day then year = year + 1 end
  local left, month = day - days_before(year), 1
  local is_leap = days_before(year + 1) - days_before(year) == 366
  while true do
    local length = MONTHS[month] + (month == 2 and is_leap and 1 or 0)
    if left < length then return format('%04d-%02d-%02d', year, month, left + 1) end
    left, month = left - length, month + 1
  end
end

-- The window that begins then: `2026-11-29T14:24Z`.
local function window_id(starts)
  local day, minute = floor(starts / 86400), floor(starts % 86400 / 60)
  if day ~= dated then dated, date = day, date_of(day) end
  return date .. format('T%02d:%02dZ', floor(minute / 60), minute % 60)
end

-- The windows whose buckets count, of all series of a length alike: made once, for those of strangers are many.
local function windows_that_count(series)
  local known = windows_by_length[series.length]
  if not known or known.at ~= series.at then
    known = {at = series.at}
    for starts = math.max(0, series.at - ROLLING_BUCKETS * series.length), series.at, series.length do
      known[#known + 1] = window_id(starts)
    end
    windows_by_length[series.length] = known
  end
  return known
end

local function figures_at(key)
  local figures = call('HMGET', key, 'spent', 'reserved')
  local spent, reserved = figures[1] or '0', figures[2] or '0'
  if not (is_whole(spent) and is_whole(reserved)) then fail('counter ' .. key .. ' is damaged') end
  return spent, reserved
end

local function add_text(series, name, text)
  if text ~= '0' then add(series, name, tonumber(text), text) end
end

-- Of an account that nobody has used lately there are none: one command says so, whatever names strangers make up.
function sum_up_buckets(series)
  local numbers, keys = series.numbers, {}
  series.spent, series.reserved, numbers.spent, numbers.reserved = '0', '0', 0, 0
  local first, last = PREFIX .. KEY_COUNTER .. ':' .. series.first, series.last
  for at, id in ipairs(windows_that_count(series)) do keys[at] = first .. id .. last end
  if call('EXISTS', spread(keys)) == 0 then return end
  for _, key in ipairs(keys) do
    local spent, reserved = figures_at(key)
    add_text(series, 'spent', spent)
    add_text(series, 'reserved', reserved)
  end
end

end

local function mark_series(series)
  if not series.is_changed then
    series.is_changed = true
    changed_series[#changed_series + 1] = series
  end
end

-- Reads the sum of each series, or makes it: with the counters of the first targets that are on it, so that no bucket has
-- changed in this call before. One that cannot be made is tried again by the next verb of the call: none goes by a part of it.
function load_series(targets)
  for at = 1, #targets do
    local series = targets[at].series
    if series and series.as_of ~= this_call then
      local found, numbers = try('HMGET', series.key, 'spent', 'reserved', 'at'), series.numbers
      series.is_changed, series.is_new, series.is_there = false, false, not found.err and found[3]
      series.at = math.floor(NOW / 1000 / series.length) * series.length
      local spent, reserved = found[1] or '', found[2] or ''
      if series.is_there and tonumber(found[3]) == series.at and is_whole(spent) and is_whole(reserved) then
        series.spent, series.reserved, numbers.spent, numbers.reserved = spent, reserved, tonumber(spent), tonumber(reserved)
      else
        if found.err then call('DEL', series.key) end
        sum_up_buckets(series)
        mark_series(series)
        series.is_new = true
      end
      series.as_of = this_call
    end
  end
end

-- Adds a change of a bucket to the sum, if the bucket counts.
local function add_to_series(counter, name, number, signed)
  local series = counter.series
  if number ~= 0 and counter.starts <= series.at and counter.starts >= series.at - ROLLING_BUCKETS * series.length then
    add(series, name, number, signed)
    mark_series(series)
  end
end

local function write_series()
  for _, series in ipairs(changed_series) do
    if series.spent ~= '0' or series.reserved ~= '0' then
      call('HSET', series.key, 'spent', series.spent, 'reserved', series.reserved, 'at', whole(series.at))
      if series.is_new then call('PEXPIRE', series.key, whole((series.at + series.length) * 1000 - NOW)) end
    elseif series.is_there then
      call('DEL', series.key)
    end
  end
end

-- After somebody wrote past the ledger nobody knows what the sum had of that.
local function forget_series(series)
  sum_up_buckets(series)
  mark_series(series)
end
