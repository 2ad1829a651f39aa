-- Somebody waits for held budget: for so long every call that gives some back publishes it (`_dispatch.lua`).

function verbs.listen(for_ms)
  load_meta()
  call('HSET', META, 'listened_until', whole(NOW + tonumber(for_ms)))
  return answer(STATUS_UNKNOWN)
end
