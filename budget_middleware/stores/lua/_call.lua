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
-- keys[1]  the ledger's meta hash; all keys of a ledger share its hash tag
-- args[1]  key prefix
-- args[2]  remember_ms: how long an ended reservation is known
-- args[3]  remember_released_ms: how long one is whose ending booked nothing
-- args[4]  remember_expired_ms: how long an expired one is
-- args[5]  counters_ms: how long a counter is kept after its window's end or its last change
-- args[6]  journal_max: journal entries kept
-- args[7]  voided_max: records kept of reservations that came to nothing
-- args[8]  token of this call: its reply ends with it, and a store without a generation takes it for one
-- args[9]  how many verbs; then for each of them: how many words it has; these are its name, the traceparent of the span
--          around it ('' if none) and its own arguments
--
-- Numbers: figures are decimal text. A Lua number is a double, exact below 2^53: figures that are that small are added
-- here, larger ones by HINCRBY.

local FIRST_VERB_AT = 10

local concat, find, format, gmatch, match = table.concat, string.find, string.format, string.gmatch, string.match
local verbs = {}

-- What a call carries.
local call, try, spread
local META, PREFIX, TOKEN, NOW, NOW_MS
local REMEMBER_MS, REMEMBER_RELEASED_MS, REMEMBER_EXPIRED_MS, COUNTERS_MS, JOURNAL_MAX, VOIDED_MAX, TRIM_EVERY
local HOLDS, TOTALS, JOURNAL, VOIDED

-- What it has read, and what it has changed and not yet written.
local generation, limits_version, seq, written_seq, bookings, entries, is_format_recorded
local is_nothing_due, changed_counters, changed_series, changed_totals, waiting_in
local is_waited_for, freed_accounts

-- Of the verb that is being done. Entries of leases that it expired in passing are returned even if not wanted.
local trace, wants_entries, records, seq_before

-- What targets say stays in memory from call to call where the server keeps a script's functions (`redis/scripts.py`): texts as
-- they were parsed, and counters by their names. Their figures are read again by each call.
local REMEMBERED_MAX = 2000
local this_call, remembered_for, remembered, counters, series_by_name, parsed = 0, nil, 0, {}, {}, {}

local function begin_with(prefix)
  this_call = this_call + 1
  if prefix ~= remembered_for or remembered > REMEMBERED_MAX then
    remembered_for, remembered, counters, series_by_name, parsed = prefix, 0, {}, {}, {}
  end
end

local function begin_call(keys, args)
  call, try, spread = redis.call, redis.pcall, unpack or table.unpack
  META, PREFIX, TOKEN = keys[1], args[1], args[8]
  REMEMBER_MS, REMEMBER_RELEASED_MS, REMEMBER_EXPIRED_MS = args[2], args[3], args[4]
  COUNTERS_MS, JOURNAL_MAX, VOIDED_MAX = tonumber(args[5]), tonumber(args[6]), tonumber(args[7])
  TRIM_EVERY = math.max(1, math.min(64, math.floor(JOURNAL_MAX / 16)))
  HOLDS, TOTALS, JOURNAL, VOIDED = PREFIX .. KEY_HOLDS, PREFIX .. KEY_TOTALS, PREFIX .. KEY_JOURNAL, PREFIX .. KEY_VOIDED
  NOW = store_time_ms(args)
  NOW_MS = format('%.0f', NOW)
  seq, is_nothing_due = nil, nil
  changed_counters, changed_series, changed_totals, waiting_in, freed_accounts = {}, {}, {}, {}, {}
  begin_with(PREFIX)
end
