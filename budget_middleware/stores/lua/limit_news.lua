-- The limits of some fields (with spaces between them), and what has changed since a version; changes
-- nothing. Returns {generation, version, lineage, shapes, '1' if these are all shapes, changed fields, their limits, the
-- limits of the fields that were asked for}. Instead of the changed fields stands false where any may have changed.

local function changed_since(state, version)
  if not state.has_log or tonumber(version) < state.log_from then return false end
  local changed = call('ZRANGEBYSCORE', LIMITS_LOG, '(' .. version, '+inf', 'LIMIT', '0', whole(REPORTED_CHANGES_MAX + 1))
  -- A worker that missed so many reads again what it still needs.
  return #changed <= REPORTED_CHANGES_MAX and changed
end

function verbs.limit_news(since_version, fields)
  local state = load_limits()
  ensure_generation()
  local changed = changed_since(state, since_version)
  return {generation, limits_version, state.lineage, state.shapes, state.has_shapes and '1' or '0', changed,
    limits_at(changed or {}), limits_at(words_of(fields))}
end
