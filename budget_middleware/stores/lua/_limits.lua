-- Shared by the verbs on runtime limits, and put in front of them.
--
-- limits             hash: account|period -> nano-dollars, or '-' for unlimited; account|more -> a word for each other limit
-- limits_log         sorted set: fields by the version of their last change; bounded
-- limits_state       hash: format ('1'); log_from, log_to: the log has each change after the one version and up to the
--                    other; shapes: the shapes of all patterns, with spaces between them ('key:= key+model:*+='), and
--                    shapes_to: up to which version there is none besides; lineage: see write_back_limits.lua
-- limits_written_back  hash: field -> as of which version a worker knew what it wrote back; expires
--
-- A writer of an older version of this package knows only `limits` and the version in the meta hash. After it log_to and
-- shapes_to are behind that version, and nothing is concluded from the log or from the shapes.

local LIMITS, LIMITS_LOG, LIMITS_STATE, WRITTEN_BACK
local MADE_FROM_LIMITS = {KEY_LIMITS_LOG, KEY_LIMITS_STATE, KEY_LIMITS_WRITTEN_BACK}

-- What is made from the limits is made again where it is of another type.
local function drop_odd_types()
  local types = {}
  for _, name in ipairs(MADE_FROM_LIMITS) do
    local key = PREFIX .. name
    types[key] = call('TYPE', key).ok
    if types[key] ~= KEY_TYPES[name] and types[key] ~= 'none' then call('DEL', key, LIMITS_STATE) end
  end
  return types
end

-- Reads what a verb on limits goes by. Limits of another type stop the call here, before anything is written.
local function load_limits()
  LIMITS, LIMITS_LOG = PREFIX .. KEY_LIMITS, PREFIX .. KEY_LIMITS_LOG
  LIMITS_STATE, WRITTEN_BACK = PREFIX .. KEY_LIMITS_STATE, PREFIX .. KEY_LIMITS_WRITTEN_BACK
  load_meta()
  call('HLEN', LIMITS)
  local is_log_there = drop_odd_types()[LIMITS_LOG] == KEY_TYPES.limits_log
  local found = call('HMGET', LIMITS_STATE, 'log_from', 'log_to', 'shapes_to', 'shapes', 'lineage')
  local log_from = tonumber(found[1] or '0')
  local state = {log_from = log_from or 0, shapes = found[4] or '', lineage = found[5] or ''}
  state.has_shapes = (found[3] or '0') == limits_version
  -- A log that has vanished had entries, unless nothing has changed since it began.
  state.has_log = (found[2] or '0') == limits_version and log_from ~= nil
    and (is_log_there or log_from == tonumber(limits_version))
  return state
end

local function words_of(text)
  local words = {}
  for word in string.gmatch(text, '%S+') do words[#words + 1] = word end
  return words
end

local function add_shapes(state, shapes)
  for _, shape in ipairs(words_of(shapes)) do
    local is_known = string.find(' ' .. state.shapes .. ' ', ' ' .. shape .. ' ', 1, true)
    if not is_known then state.shapes = state.shapes == '' and shape or state.shapes .. ' ' .. shape end
  end
end

local function write_state(state)
  call('HSET', LIMITS_STATE, 'format', '1', 'log_from', whole(state.log_from), 'shapes', state.shapes,
    'lineage', state.lineage)
  if state.has_log then call('HSET', LIMITS_STATE, 'log_to', limits_version) end
  if state.has_shapes then call('HSET', LIMITS_STATE, 'shapes_to', limits_version) end
end

-- Has the log begin here if it is not complete.
local function begin_log(state)
  if state.has_log then return end
  call('DEL', LIMITS_LOG)
  state.log_from, state.has_log = tonumber(limits_version), true
end

-- Makes a new version of all limits, in which these fields were changed.
local function log_changes(state, fields, changes_max, at_least)
  begin_log(state)
  -- A time, not a count: a store that was emptied, or fell back to what a replica had, would come to a version that
  -- gateways know, and to other limits.
  limits_version = whole(math.max(tonumber(limits_version) + 1, at_least))
  for _, field in ipairs(fields) do
    call('HDEL', WRITTEN_BACK, field)
    call('ZADD', LIMITS_LOG, limits_version, field)
  end
  local excess = call('ZCARD', LIMITS_LOG) - tonumber(changes_max)
  if excess > 0 then
    local last = whole(excess - 1)
    state.log_from = tonumber(call('ZRANGE', LIMITS_LOG, last, last, 'WITHSCORES')[2])
    call('ZREMRANGEBYRANK', LIMITS_LOG, '0', last)
  end
  call('HSET', META, 'limits_version', limits_version)
  write_state(state)
end

-- The values of fields, in their order; false for one that is not there.
local function limits_at(fields)
  local values = {}
  for at = 1, #fields, 1000 do
    local some = call('HMGET', LIMITS, spread(fields, at, math.min(at + 999, #fields)))
    for index = 1, math.min(1000, #fields - at + 1) do values[at + index - 1] = some[index] end
  end
  return values
end
