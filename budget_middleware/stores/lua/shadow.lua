-- Add to what limits would have refused on a day: the day, of how many limits sums are kept, then for each limit its name and
-- what to add. No counter hangs on this. What cannot be read is summed anew.

-- `plus` of core/limits/shadow.py.
local function sum_with(known, newer)
  local requests, estimates, enough, first, last, more = read_shadow_sum(known)
  if not requests then return newer end
  local new_requests, new_estimates, new_enough, new_first, new_last = read_shadow_sum(newer)
  return text_of_shadow_sum(
    math.min(requests + new_requests, EXACT), math.min(estimates + new_estimates, EXACT),
    math.max(enough, new_enough), math.min(first, new_first), math.max(last, new_last), more
  )
end

function verbs.shadow(day, limits_max, ...)
  local key, words, left_out = PREFIX .. KEY_SHADOW .. ':' .. day, {...}, 0
  local had_left_out = tonumber(call('HGET', key, LEFT_OUT) or '0') or 0
  local n_limits = call('HLEN', key) - call('HEXISTS', key, LEFT_OUT)
  for at = 1, #words, 2 do
    local name, newer = words[at], words[at + 1]
    local known = call('HGET', key, name)
    if known then
      call('HSET', key, name, sum_with(known, newer))
    elseif n_limits < tonumber(limits_max) then
      call('HSET', key, name, newer)
      n_limits = n_limits + 1
    else
      left_out = left_out + read_shadow_sum(newer)
    end
  end
  if left_out > 0 then call('HSET', key, LEFT_OUT, whole(had_left_out + left_out)) end
  call('PEXPIRE', key, whole(COUNTERS_MS))
  return {}
end
