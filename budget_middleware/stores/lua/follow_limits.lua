-- Note in a shard which version the runtime limits have, that are kept elsewhere: a higher one; or, with the version that this
-- shard is known to have, any other in its place. Reserves with another version are refused as stale.

function verbs.follow_limits(version, instead_of)
  load_meta()
  ensure_generation()
  local is_newer = tonumber(version) > tonumber(limits_version)
  if instead_of == '' and is_newer or instead_of == limits_version then
    limits_version = version
    call('HSET', META, 'limits_version', limits_version)
  end
  return answer(STATUS_UNKNOWN)
end
