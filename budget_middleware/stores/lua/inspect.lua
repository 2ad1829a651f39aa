-- One counter and what should explain it, read in one instant.
-- ARGV[8] the counter's name: account|period|window
-- Returns {spent, reserved, adjusted, seq, held, due, token}; held and due are the amounts of its pending reservations,
-- unsummed because their sum may exceed what a Lua number can tell.

load_meta()
local name = ARGV[8]
local figures = call('HMGET', PREFIX .. 'c:' .. name, 'spent', 'reserved', 'adjusted')
local held, due = amounts_held(PREFIX .. 'p:' .. name)
return {figures[1] or '0', figures[2] or '0', figures[3] or '0', whole(seq), held, due, TOKEN}
