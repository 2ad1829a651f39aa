-- One counter and what should explain it, read in one instant.
-- ARGV[8] the counter's name: account|period|window
-- Returns {spent, reserved, adjusted, pending, pending_nanos, due_nanos, seq}.

load_meta()
local name = ARGV[8]
local figures = call('HMGET', PREFIX .. 'c:' .. name, 'spent', 'reserved', 'adjusted')
local pending, held, due = call('ZRANGE', PREFIX .. 'p:' .. name, '0', '-1'), 0, 0
for _, id in ipairs(pending) do
  local record = call('HMGET', reservation_key(id), 'amount', 'deadline')
  local amount = tonumber(record[1] or '0') or 0
  held = held + amount
  if NOW >= (tonumber(record[2] or '0') or 0) then due = due + amount end
end
return {figures[1] or '0', figures[2] or '0', figures[3] or '0', whole(#pending), whole(held), whole(due), whole(seq)}
