-- What every call carries, and what it has read so far. One verb is one atomic step, and one call does several of them, one
-- after the other (`_dispatch.lua`).
--
-- What is declared nowhere here comes from Python (`redis/generated.py`): words and bounds in capital letters, and a few
-- functions: ending_of, extension_of, has_ended, figures_of, …
--
-- KEYS[1]  the ledger's meta hash; all keys of a ledger share its hash tag
-- ARGV[1]  key prefix
-- ARGV[2]  remember_ms: how long an ended reservation is known
-- ARGV[3]  remember_released_ms: how long one is whose ending booked nothing
-- ARGV[4]  remember_expired_ms: how long an expired one is
-- ARGV[5]  counters_ms: how long a counter is kept after its window's end or its last change
-- ARGV[6]  journal_max: journal entries kept
-- ARGV[7]  voided_max: records kept of reservations that came to nothing
-- ARGV[8]  token of this call: its reply ends with it, and a store without a generation takes it for one
-- ARGV[9]  how many verbs; then for each of them: how many words it has; these are its name, the traceparent of the span
--          around it ('' if none) and its own arguments
--
-- Numbers: amounts are decimal strings, counters change by HINCRBY only. A Lua number is a double, exact to 2^53:
-- enough to compare amounts below 9 000 000 USD, never used to store one.

local META, PREFIX, TOKEN = KEYS[1], ARGV[1], ARGV[8]
local REMEMBER_MS, REMEMBER_RELEASED_MS, REMEMBER_EXPIRED_MS = ARGV[2], ARGV[3], ARGV[4]
local COUNTERS_MS, JOURNAL_MAX, VOIDED_MAX = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local FIRST_VERB_AT = 10
local LEASES, TOTALS = PREFIX .. KEY_LEASES, PREFIX .. KEY_TOTALS
local JOURNAL, VOIDED = PREFIX .. KEY_JOURNAL, PREFIX .. KEY_VOIDED

local NOW = store_time_ms()
local call = redis.call
local concat, format, match = table.concat, string.format, string.match
local verbs = {}

-- What this call has read of the store. Nobody else writes meanwhile, so it is read once and kept up with what is written.
local generation, seq, written_seq, limits_version, is_nothing_due
local bookings, entries
local counters, parsed = {}, {}

-- Of the verb that is being done. Entries of leases that it expired in passing are told whether wanted or not.
local trace, wants_entries, records, seq_before
