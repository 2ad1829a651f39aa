-- One counter, by its name account|period|window, and what should explain it, read in one instant.
-- Returns {spent, reserved, adjusted, seq, held, due}; held and due are the amounts of its pending reservations, unsummed
-- because their sum may exceed what a Lua number can tell.

function verbs.inspect(name)
  load_meta()
  local figures = call('HMGET', PREFIX .. 'c:' .. name, 'spent', 'reserved', 'adjusted')
  local held, due = amounts_held(PREFIX .. 'p:' .. name)
  return {figures[1] or '0', figures[2] or '0', figures[3] or '0', whole(seq), held, due}
end
