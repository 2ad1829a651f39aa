-- What a limit would have refused on a day, as `ShadowSum` of core/limits/shadow.py has it; the text is that of stores/records/shadow_sums.py.

local SHADOW_SUM = '^requests=(%d+) estimates=(%d+) enough=(%d+) first=(%d+) last=(%d+)(.*)$'

-- The figures, and what a newer version has written behind them; nil for a text that is none.
local function read_shadow_sum(text)
  local requests, estimates, enough, first, last, more = match(text, SHADOW_SUM)
  if not requests then return nil end
  return tonumber(requests), tonumber(estimates), tonumber(enough), tonumber(first), tonumber(last), more
end

local function text_of_shadow_sum(requests, estimates, enough, first, last, more)
  return 'requests=' .. whole(requests) .. ' estimates=' .. whole(estimates) .. ' enough=' .. whole(enough)
    .. ' first=' .. whole(first) .. ' last=' .. whole(last) .. more
end
