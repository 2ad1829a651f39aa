-- Add the shapes of all limits that were there at a version, in a store that an older version of this package has written
-- to. {'1'}: the index is complete, for whatever has changed since is in the log and added its own shape.

function verbs.index_limits(seen_version, shapes)
  local state = load_limits()

  -- Every check is above this line and every write below it: Redis does not roll back.
  ensure_generation()
  add_shapes(state, shapes)
  if limits_version == seen_version then begin_log(state) end
  state.has_shapes = state.has_shapes or (state.has_log and state.log_from <= tonumber(seen_version))
  write_state(state)
  return {state.has_shapes and '1' or '0'}
end
