-- Change the runtime limits of one pattern: itself and its shape; the version of all limits at which nothing else must have
-- changed, or ''; how many changes the log keeps; then names, each with its new value ('' to forget). A name is that of a
-- field; or of a word of the field `more`, which is empty before these where it is among the names itself. What
-- changes makes a new version of all limits, which the next reserves must carry. STALE_LIMITS: something else has changed.

local function split_words(more)
  local words = {}
  for name, word in string.gmatch(more, '(([^&=]+)[^&]*)') do words[word] = name end
  return words
end

local function joined_words(words)
  local list = {}
  for _, word in pairs(words) do list[#list + 1] = word end
  table.sort(list)
  return table.concat(list, '&')
end

function verbs.limit(pattern, shape, at_version, changes_max, ...)
  local state = load_limits()
  local changes, fields, values = {...}, {}, {}
  local more = call('HGET', LIMITS, pattern .. '|' .. LIMIT_MORE) or ''
  local words = split_words(more)
  for at = 1, #changes, 2 do
    local name, value = changes[at], changes[at + 1]
    if name == LIMIT_MORE then
      words = {}
    elseif PERIODS_WITH_FIELD[name] then
      fields[#fields + 1], values[#values + 1] = pattern .. '|' .. name, value
    else
      words[name] = value ~= '' and name .. '=' .. value or nil
    end
  end
  local changed_more = joined_words(words)
  if changed_more ~= more then
    fields[#fields + 1], values[#values + 1] = pattern .. '|' .. LIMIT_MORE, changed_more
  end
  if at_version ~= '' and at_version ~= limits_version then return answer(STATUS_STALE_LIMITS) end

  -- Every check is above this line and every write below it: Redis does not roll back.
  ensure_generation()
  for index, field in ipairs(fields) do
    if values[index] == '' then
      call('HDEL', LIMITS, field)
    else
      call('HSET', LIMITS, field, values[index])
      add_shapes(state, shape)
    end
  end
  if #fields > 0 then log_changes(state, fields, changes_max, NOW) end
  return answer(STATUS_UNKNOWN)
end
