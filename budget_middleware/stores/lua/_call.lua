-- Theory of operation. Every call carries the constants of its ledger and some verbs, and does these one after the other
-- (`_dispatch.lua`). A verb is one atomic step: it checks everything, then it writes. Two kinds of writes:
--
--   at once     reservations, and indexes and the journal before somebody reads them: what a later verb may look for
--   at the end  counters, totals, meta: kept here in Lua, read once and written once, however many verbs change them; and
--               what has not been read of indexes and of the journal (`_sorted_sets.lua`)
--
-- What is written at once goes in an order in which the first write that can fail, on a key of another type, leaves nothing
-- behind (`_holds.lua`). What is written at the end was read and checked before, so it cannot fail.
--
-- What is declared nowhere here comes from Python (`redis/generated.py`): words and bounds in capital letters, and a few
-- functions: ending_of, extension_of, has_ended, figures_of, …
--
-- keys[1]  the ledger's meta hash; all keys of a ledger share its hash tag, and begin as it does
-- args[1]  how long things are kept, words: remember_ms: how long an ended reservation is known; remember_released_ms: how
--          long one is whose ending booked nothing; remember_expired_ms: how long an expired one is; counters_ms: how long
--          a counter is kept after its window's end or its last change; journal_max: journal entries kept; voided_max:
--          records kept of reservations that came to nothing
-- args[2]  token of this call: its reply ends with it, and has it between its parts; a store without a generation takes it for
--          one
-- args[3]  how many verbs; then for each of them: how many words it has, its name, and its settings, which are one word; the
--          traceparent of the span around it ('' if none); and its own arguments
--
-- Numbers: figures are decimal text. A Lua number is a double, exact below 2^53: figures that are that small are added
-- here, larger ones by HINCRBY.

local concat, find, format, gmatch, match, sub = table.concat, string.find, string.format, string.gmatch, string.match, string.sub
local verbs = {}

local call, try, spread = redis.call, redis.pcall, unpack or table.unpack

-- What a call carries.
local META, PREFIX, KEPT, TOKEN, SEPARATOR, ENDING, NOW, NOW_MS
local REMEMBER_MS, REMEMBER_RELEASED_MS, REMEMBER_EXPIRED_MS, COUNTERS_MS, JOURNAL_MAX, VOIDED_MAX, TRIM_EVERY
local HOLDS, TOTALS, JOURNAL, VOIDED

-- Where the journal is, as numbers and as their texts. Where these are kept from call to call, each text is read or made once.
local seq, bookings, entries, seq_text, bookings_text, entries_text

-- What it has read, and what it has changed and not yet written.
local is_meta_read, generation, limits_version, written_seq, is_format_recorded
local is_nothing_due, changed_counters, changed_totals, waiting, is_waited_for
local changed_series, freed_accounts = {}, {}

-- Of the verb that is being done. Entries of leases that it expired in passing are returned even if not wanted.
local settings, trace, wants_entries, seq_before

-- The records of the journal that its answer has (`_answer.lua`).
local records, n_records = {}, 0

-- What calls have in common stays in memory from call to call where the server keeps a script's functions
-- (`redis/scripts.py`): the names of keys, targets as they were parsed, counters by their names, the tables in which changes
-- wait, and the settings of verbs. Their figures are read again by each call. And what was held lately, as records: their texts are read again, but not parsed.
local REMEMBERED_MAX = 2000
local this_call, remembered, counters, series_by_name, parsed, queues, heads = 0, 0, {}, {}, {}, {}, {}
local held_lately, n_held_lately = {}, 0

-- '%d' takes half the time of '%.0f', but cuts off what a C long does not hold, and that may be 32 bits.
local WHOLE = format('%d', EXACT) == format('%.0f', EXACT) and '%d' or '%.0f'

-- The text of an integer, of 18 digits at most.
local function whole(number)
  return format(WHOLE, number)
end

-- The same of one that is most often small: such a text is made once. A script has room for 200 local variables: what only this
-- needs are those of a block.
local text_of_count
do

local made = {}

function text_of_count(number)
  if number > 99 then return whole(number) end
  local text = made[number] or whole(number)
  made[number] = text
  return text
end

end

local function begin_ledger(meta)
  META, PREFIX = meta, sub(meta, 1, -1 - #KEY_META)
  HOLDS, TOTALS, JOURNAL, VOIDED = PREFIX .. KEY_HOLDS, PREFIX .. KEY_TOTALS, PREFIX .. KEY_JOURNAL, PREFIX .. KEY_VOIDED
  remembered, counters, series_by_name, parsed, queues, heads = 0, {}, {}, {}, {}, {}
  held_lately, n_held_lately = {}, 0
end

local function read_kept(words)
  local counters_ms, journal_max, voided_max
  REMEMBER_MS, REMEMBER_RELEASED_MS, REMEMBER_EXPIRED_MS, counters_ms, journal_max, voided_max =
    match(words, '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$')
  KEPT, COUNTERS_MS, JOURNAL_MAX, VOIDED_MAX = words, tonumber(counters_ms), tonumber(journal_max), tonumber(voided_max)
  TRIM_EVERY = math.max(1, math.min(256, math.floor(JOURNAL_MAX / 16)))
end

local function begin_call(keys, args)
  if keys[1] ~= META or remembered > REMEMBERED_MAX then begin_ledger(keys[1]) end
  if args[1] ~= KEPT then read_kept(args[1]) end
  this_call, TOKEN, SEPARATOR = this_call + 1, args[2], '+' .. args[2]
  ENDING = args[3] == '1' and '=' .. TOKEN or ''
  NOW = store_time_ms(args)
  NOW_MS = whole(NOW)
  is_meta_read, is_nothing_due = false, nil
  changed_counters, changed_totals, waiting = {}, {}, {}
  if changed_series[1] then changed_series = {} end
  if next(freed_accounts) then freed_accounts = {} end
end
