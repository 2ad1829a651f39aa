-- Some counters, by their names, one a line, and what should explain them, read in one instant.
-- Returns {seq, lines}: for each counter `spent reserved adjusted|held …|due …`, or an empty line where it is damaged. held and
-- due are the amounts of its pending reservations, unsummed because their sum may exceed what a Lua number can hold.

local function inspect_one(name)
  local figures = call('HMGET', PREFIX .. KEY_COUNTER .. ':' .. name, 'spent', 'reserved', 'adjusted')
  local held, due = amounts_held(name)
  return concat({figures[1] or '0', figures[2] or '0', figures[3] or '0'}, ' ')
    .. '|' .. concat(held, ' ') .. '|' .. concat(due, ' ')
end

function verbs.inspect(names)
  load_meta()
  local lines = {}
  for name in string.gmatch(names, '[^\n]+') do
    local is_sound, line = pcall(inspect_one, name)
    if type(line) == 'table' and line.is_newer then error(line) end
    lines[#lines + 1] = is_sound and line or ''
  end
  return {seq_text, concat(lines, '\n')}
end
