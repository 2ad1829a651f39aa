-- Set a runtime limit (nano-dollars, '-' for unlimited, '' to forget) of the fields account|period of one pattern, with
-- spaces between them; then the shape of the pattern, and how many changes the log keeps. It makes a new version of all
-- limits, which the next reserves must carry.

function verbs.limit(nanos, fields, shape, changes_max)
  local state = load_limits()
  local changed = words_of(fields)

  -- Every check is above this line and every write below it: Redis does not roll back.
  ensure_generation()
  for _, field in ipairs(changed) do
    if nanos == '' then call('HDEL', LIMITS, field) else call('HSET', LIMITS, field, nanos) end
  end
  if nanos ~= '' then add_shapes(state, shape) end
  log_changes(state, changed, changes_max, NOW)
  return answer(STATUS_UNKNOWN)
end
