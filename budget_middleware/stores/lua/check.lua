-- Try every command that the scripts use, on keys of its own, and leave nothing behind: what the server does not know, or
-- does not allow, is reported when a worker starts, and not by its first request.

function verbs.check()
  local text, hash, set = PREFIX .. 'check:text', PREFIX .. 'check:hash', PREFIX .. 'check:set'
  -- First what takes memory: a full server allows it after any other write.
  call('SET', text, '1', 'PX', '60000')
  call('HSET', hash, 'n', '1', 'm', '1')
  call('GET', text)
  call('DEL', set)
  call('HINCRBY', hash, 'n', '1')
  call('HGET', hash, 'n')
  call('HEXISTS', hash, 'n')
  call('HMGET', hash, 'n', 'm')
  call('HGETALL', hash)
  call('HLEN', hash)
  call('HDEL', hash, 'm')
  call('ZADD', set, '1', 'a')
  call('ZCARD', set)
  call('ZSCORE', set, 'a')
  call('ZRANGE', set, '0', '-1')
  call('ZRANGEBYSCORE', set, '-inf', '1', 'LIMIT', '0', '1')
  call('ZREM', set, 'a')
  call('ZREVRANGEBYSCORE', set, '+inf', '-inf', 'LIMIT', '0', '1')
  call('ZREMRANGEBYRANK', set, '0', '-1')
  call('ZREMRANGEBYSCORE', set, '-inf', '1')
  call('TYPE', hash)
  call('PEXPIRE', hash, '60000')
  call('PTTL', text)
  call('EXISTS', hash)
  call('DEL', text, hash, set)
  load_meta()
  return answer(STATUS_UNKNOWN)
end
