-- Numbers, which are text wherever they are stored.

local function whole(number)
  return format('%.0f', number)
end

-- Neither '-0' nor '--5' is an integer to HINCRBY.
local function negative(nanos)
  if nanos == '0' then return '0' end
  return match(nanos, '^%-(.*)') or '-' .. nanos
end

local function difference(a, b)
  if b == '0' then return a end
  if a == '0' then return negative(b) end
  local result = tonumber(a) - tonumber(b)
  if result == 0 then return '0' end
  return whole(result)
end

local function fail(message)
  error({err = 'BUDGET ' .. message})
end

-- What a record says of an amount or a time: an integer to HINCRBY, with room for the largest before it overflows.
local function is_amount(text)
  return text == '0' or (#text <= 18 and match(text, '^[1-9]%d*$') ~= nil)
end

local function is_whole(text)
  if is_amount(text) then return true end
  local digits = match(text, '^%-([1-9].*)')
  return digits ~= nil and is_amount(digits)
end

-- Whether a counter that shows this figure takes no more holds. The number itself is too large to compare.
local function is_full(figure)
  return #figure >= FULL_DIGITS and match(figure, '^%d') ~= nil
end
