-- Set a runtime limit (nano-dollars, '-' for unlimited, '' to forget) of the fields account|period, with spaces between
-- them. It makes a new version of all limits, which the next reserves must carry.

function verbs.limit(nanos, fields)
  load_meta()
  local limits = PREFIX .. 'limits'
  call('HLEN', limits)
  -- A time, not a count: a store that was emptied, or fell back to what a replica had, would come to a version that
  -- gateways know, and to other limits.
  local version = whole(math.max(tonumber(limits_version) + 1, NOW))

  -- Every check is above this line and every write below it: Redis does not roll back.
  ensure_generation()
  for field in string.gmatch(fields, '%S+') do
    if nanos == '' then call('HDEL', limits, field) else call('HSET', limits, field, nanos) end
  end
  call('HSET', META, 'limits_version', version)
  limits_version = version
  return answer('unknown')
end
