-- Numbers, which are text wherever they are stored, and amounts: a figure for each unit, `usd:1200000,tokens:812`, and ''
-- where all are 0.

-- Neither '-0' nor '--5' is an integer to HINCRBY.
local function negative(figure)
  if figure == '0' then return '0' end
  return match(figure, '^%-(.*)') or '-' .. figure
end

local function difference(a, b)
  if b == '0' then return a end
  if a == '0' then return negative(b) end
  local result = tonumber(a) - tonumber(b)
  if result == 0 then return '0' end
  return whole(result)
end

local function fail(message, is_newer)
  error({err = 'BUDGET ' .. message, is_newer = is_newer})
end

-- What a record says of an amount or a time: an integer to HINCRBY, with room for the largest before it overflows.
local function is_figure(text)
  return text == '0' or (#text <= 18 and find(text, '^[1-9]%d*$') ~= nil)
end

local function is_whole(text)
  if is_figure(text) then return true end
  local digits = match(text, '^%-([1-9].*)')
  return digits ~= nil and is_figure(digits)
end

-- Whether a counter that shows this figure takes no more holds. The number itself is too large to compare.
local function is_full(figure)
  return #figure >= FULL_DIGITS and match(figure, '^%d') ~= nil
end

local amount_in
do

local patterns = {}

-- The figure of one unit. No unit's name ends with another's.
function amount_in(amounts, unit)
  if amounts == '' then return '0' end
  local pattern = patterns[unit]
  if not pattern then
    pattern = unit .. ':(%-?%d+)'
    patterns[unit] = pattern
  end
  return match(amounts, pattern) or '0'
end

end

-- Each unit once, none of them 0.
local function are_amounts(amounts)
  if amounts == '' then return true end
  -- Most often there is only one.
  if #amounts <= 18 and find(amounts, '^%l+:[1-9]%d*$') then return true end
  local read, seen = 0, {}
  for unit, amount in gmatch(amounts, '(%l+):(%d+)') do
    if amount == '0' or seen[unit] or not is_figure(amount) then return false end
    read, seen[unit] = read + #unit + #amount + 2, true
  end
  return read == #amounts + 1
end
