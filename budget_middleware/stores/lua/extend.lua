-- Renew the lease of one's own reservation, from now on.
-- ARGV[8] id  [9] lease_ms

local id, lease_ms = ARGV[8], tonumber(ARGV[9])

local known = open(id, '')
if not known then return answer('unknown') end
if known.state ~= 'pending' then return answer('already_' .. known.state, known) end
for _, target in ipairs(known.targets) do call('ZCARD', target.pending) end

-- Every check is above this line and every write below it: Redis does not roll back.
local deadline = whole(NOW + lease_ms)
call('HSET', known.key, 'deadline', deadline)
call('ZADD', LEASES, deadline, id)
for _, target in ipairs(known.targets) do call('ZADD', target.pending, deadline, id) end
return answer('extended')
