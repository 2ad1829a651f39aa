-- What was learnt from the answers of a group, as seven numbers with spaces between them: `Sums` of core/costs/learning.py.

-- The numbers; nil for a text that no answers can have led to.
local function read_sums(text)
  local sums = {}
  for word in gmatch(text, '[^ ]+') do
    local number = match(word, '^%d[%d.e+-]*$') and tonumber(word)
    if not number or number > tonumber(LARGEST_SUM) then return nil end
    sums[#sums + 1] = number
  end
  if #sums ~= N_SUMS or sums[1] < 1 or sums[1] > MOST_ANSWERS then return nil end
  return sums
end

-- Exact: every reader gets the same number.
local function text_of_sums(sums)
  for at = 1, N_SUMS do sums[at] = format('%.17g', sums[at]) end
  return concat(sums, ' ')
end
