-- Which counter refuses an amount.

-- Whether a counter refuses before another: what is spent before what is only held, then in the order of the units, then the
-- larger shortfall.
local function refuses_before(one, other)
  if one.is_spent ~= other.is_spent then return one.is_spent end
  if one.place ~= other.place then return one.place < other.place end
  return one.shortfall > other.shortfall
end

-- As an answer has it: the index of the target, what the limit was compared with, and the limit where something is carried
-- over, with commas between them; nil where nothing refuses.
local function rejection_of(targets, worst)
  if not worst then return nil end
  local target = targets[worst.index]
  local compared = target.compared
  return whole(worst.index) .. ',' .. compared.spent .. ',' .. compared.reserved
    .. (target.previous and ',' .. whole(target.limit) or '')
end

-- The counter that refuses; of equal ones the first. Then whether any figure is so large that its counter may be full.
local function find_rejection(targets, asked)
  local worst, are_large, unit, estimate = nil, false, nil, nil
  for index = 1, #targets do
    local target = targets[index]
    if target.unit ~= unit then
      unit = target.unit
      estimate = tonumber(amount_in(asked, unit))
    end
    local limit, numbers = target.limit, target.compared.numbers
    local spent, reserved = numbers.spent, numbers.reserved
    if spent >= FULL_OR_INEXACT or reserved >= FULL_OR_INEXACT then are_large = true end
    if limit and estimate > 0 then
      local shortfall = spent + reserved + estimate - limit
      if shortfall > 0 then
        local found = {
          index = index, is_spent = spent + estimate > limit, place = place_of(unit) or math.huge, shortfall = shortfall,
        }
        if not worst or refuses_before(found, worst) then worst = found end
      end
    end
  end
  return worst, are_large
end
