-- Put a text where another one is, on a shelf that gateways share: the shelf, a name, how long the shelf is kept at least
-- (ms), whether there is to be a text before ('1' or '0') and which, whether there is one after and which. Returns '1' if it was
-- put, '0' if another one is there.

function verbs.swap_text(shelf, name, keep_ms, had_one, before, has_one, after)
  local key = PREFIX .. KEY_TEXTS .. ':' .. shelf
  local known = call('HGET', key, name)
  if had_one == '1' and known ~= before or had_one == '0' and known then return {'0'} end
  if has_one == '1' then
    call('HSET', key, name, after)
    if call('PTTL', key) < tonumber(keep_ms) then call('PEXPIRE', key, keep_ms) end
  else
    call('HDEL', key, name)
  end
  return {'1'}
end
