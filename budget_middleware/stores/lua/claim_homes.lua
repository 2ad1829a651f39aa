-- Record which shard is the home of some accounts, where none is recorded yet; for so many milliseconds at least ('0': for
-- ever). Words in pairs: an account, and the name of a shard, or '' to ask only. Returns the name recorded for each, or ''.

function verbs.claim_homes(keep_ms, ...)
  local words, homes, keep = {...}, {}, tonumber(keep_ms)
  for at = 1, #words, 2 do
    local key, proposed = PREFIX .. KEY_HOME .. ':' .. words[at], words[at + 1]
    local home = call('GET', key)
    if proposed ~= '' then
      local left = home and call('PTTL', key) or 0
      if keep == 0 then
        if left ~= -1 then call('SET', key, home or proposed) end
      elseif left ~= -1 and left < keep then
        call('SET', key, home or proposed, 'PX', keep_ms)
      end
      home = home or proposed
    end
    homes[#homes + 1] = home or ''
  end
  return homes
end
