-- Shared by every script and put in front of its verbs; one verb is one atomic step, and one call does several of them, one
-- after the other (`_dispatch.lua`).
--
-- KEYS[1]  the ledger's meta hash; all keys of a ledger share its hash tag
-- ARGV[1]  key prefix
-- ARGV[2]  remember_ms: how long an ended reservation is known
-- ARGV[3]  remember_expired_ms: how long an expired one is
-- ARGV[4]  counters_ms: how long a counter is kept after its window's end or its last change
-- ARGV[5]  journal_max: journal entries kept
-- ARGV[6]  token of this call: its reply ends with it, and a store without a generation takes it for one
-- ARGV[7]  how many verbs; then for each of them: how many words it has; these are its name, the traceparent of the span
--          around it ('' if none) and its own arguments
--
-- A verb answers {status, now_ms, generation, seq, limits_version, recorded, rejection, records, written, balances}.
-- records are those of the journal that the verb wrote; written is how many entries they have, also those that it does not
-- tell.
--
-- The journal is a sorted set of records, scored by the seq of their last entry. A record is what one verb changed: one
-- entry for each counter. It begins with `seq bookings entries`: the seq of its last entry, how many entries that may
-- have changed *spent* the journal has had so far, and how many entries it has had in all without those that were voided.
-- A reservation that is released has changed no *spent*: its two records move to a set of their own, `voided`, that is
-- short and lasts no longer than a finished id, so that whoever makes many of them pushes nothing else out of the journal.
-- Bookings are numbered in a row, so that an audit sees whether one is missing, however many voided ones are.
--
-- Targets travel and are stored as one string, six words a counter: account period window starts_ms ends_ms limit
-- (nano-dollars, '-' for none). No word of the account grammar holds a space or a '|'.
--
-- Numbers: amounts are decimal strings, counters change by HINCRBY only. A Lua number is a double, exact to 2^53:
-- enough to compare amounts below 9 000 000 USD, never used to store one.

local SWEPT_PER_VERB = 16
local TRIED_AGAIN_MS = 60000
local EXACT = 9e15
-- A figure of so many digits is full (core/transitions.py): the numbers themselves are too large to compare.
local FULL_DIGITS = 18
local FOREVER_MS = 253402300800000
-- A release that booked nothing is remembered for a sixth of the time, but not for less than this: as long as a delayed
-- copy of its reserve may take to arrive. Nothing else that comes after it would change a counter (stores/base.py).
local RELEASED_MS = 600000

local META, PREFIX, TOKEN = KEYS[1], ARGV[1], ARGV[6]
local REMEMBER_MS, REMEMBER_EXPIRED_MS = ARGV[2], ARGV[3]
local REMEMBER_RELEASED_MS = string.format('%.0f', math.min(ARGV[2], math.max(RELEASED_MS, math.floor(ARGV[2] / 6))))
local COUNTERS_MS, JOURNAL_MAX = tonumber(ARGV[4]), tonumber(ARGV[5])
local LEASES, TOTALS = PREFIX .. 'leases', PREFIX .. 'totals'
local JOURNAL, VOIDED = PREFIX .. 'entries', PREFIX .. 'voided'
local VOIDED_MAX = math.max(2, math.floor(JOURNAL_MAX / 20))
local TRIM_EVERY = math.max(1, math.min(64, math.floor(JOURNAL_MAX / 16)))

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

local function whole(number)
  return format('%.0f', number)
end

-- Neither '-0' nor '--5' is an integer to HINCRBY.
local function negative(nanos)
  if nanos == '0' then return '0' end
  return match(nanos, '^%-(.*)') or '-' .. nanos
end

local function difference(a, b)
  local result = tonumber(a) - tonumber(b)
  if result == 0 then return '0' end
  return whole(result)
end

local function fail(message)
  error({err = 'BUDGET ' .. message})
end

-- What a record says of an amount or a time: an integer to HINCRBY, with room for the largest before it overflows.
local function is_amount(text)
  return text == '0' or (#text <= 18 and match(text, '^[1-9]%d*$') ~= nil)
end

local function is_whole(text)
  if is_amount(text) then return true end
  local digits = match(text, '^%-([1-9].*)')
  return digits ~= nil and is_amount(digits)
end

-- Whether a counter that shows this figure takes no more holds.
local function is_full(figure)
  return #figure >= FULL_DIGITS and match(figure, '^%d') ~= nil
end

local function is_meta_sound(meta_seq, version, meta_bookings, meta_entries)
  return is_amount(meta_seq) and tonumber(meta_seq) < EXACT and is_whole(version)
    and is_amount(meta_bookings) and is_whole(meta_entries)
end

-- The seq of a record, its bookings and its entries; nil where there is none.
local function read_head(record)
  local at, booked, held = match(record or '', '^(%d+) (%d+) (%-?%d+)\n')
  return tonumber(at), tonumber(booked), tonumber(held)
end

-- The last record of the journal or of the voided ones, if it is beyond what the meta hash tells, and its seq.
local function newest_record(last)
  local newest, score
  for _, records_of in ipairs({JOURNAL, VOIDED}) do
    local found = call('ZREVRANGEBYSCORE', records_of, '+inf', '(' .. whole(last), 'WITHSCORES', 'LIMIT', '0', '1')
    if found[1] and (not score or tonumber(found[2]) > score) then newest, score = found[1], tonumber(found[2]) end
  end
  return newest, score
end

local function load_meta()
  if seq then return end
  local meta = call('HMGET', META, 'generation', 'seq', 'limits_version', 'bookings', 'entries')
  local last, version = meta[2] or '0', meta[3] or '0'
  bookings, entries = meta[4] or '0', meta[5] or '0'
  if not is_meta_sound(last, version, bookings, entries) then fail('the meta hash is damaged') end
  last, bookings, entries = tonumber(last), tonumber(bookings), tonumber(entries)
  -- A journal that is ahead of its meta hash is continued: no seq stands for two entries.
  if call('ZRANGEBYSCORE', JOURNAL, '(' .. whole(last), '+inf', 'LIMIT', '0', '1')[1] or not meta[2] then
    local newest, score = newest_record(last)
    local _, booked, held = read_head(newest)
    last, bookings, entries = score or last, booked or bookings, held or entries
  end
  if last >= EXACT then fail('the journal is damaged') end
  -- Without its seq a generation is nobody's.
  generation, limits_version = meta[2] and meta[1], version
  -- Limits whose version is lost are none that a gateway knows.
  if not generation and version == '0' and call('EXISTS', PREFIX .. 'limits') == 1 then limits_version = whole(NOW) end
  seq, seq_before, written_seq = last, last, last
end

-- A store that was emptied gets a new generation.
local function ensure_generation()
  if generation then return end
  generation = TOKEN
  call('HSET', META, 'generation', generation, 'seq', whole(seq), 'limits_version', limits_version)
end

local function counter_of(name)
  local known = counters[name]
  if not known then
    known = {key = PREFIX .. 'c:' .. name, pending = PREFIX .. 'p:' .. name}
    counters[name] = known
  end
  return known
end

-- Then whether they are sound: nothing is left over, nothing lacks its end.
local function parse_targets(packed)
  local known = parsed[packed]
  if known then return known.targets, known.are_sound end
  local targets, read, are_limits_sound = {}, 0, true
  for account, period, window, starts, ends, limit in
      string.gmatch(packed, '(%S+) (%S+) (%S+) (%d+) (%d+) (%-?%d*)') do
    local name = account .. '|' .. period .. '|' .. window
    targets[#targets + 1] = {
      account = account, period = period, window = window, starts = tonumber(starts), ends = tonumber(ends),
      limit = limit, counter = counter_of(name),
    }
    read, are_limits_sound = read + #name + #starts + #ends + #limit + 4, are_limits_sound and limit ~= ''
  end
  -- Each is counted with the blank behind it, which the last one has not.
  local are_sound = are_limits_sound and (packed == '' or read == #packed + 1)
  parsed[packed] = {targets = targets, are_sound = are_sound}
  return targets, are_sound
end

local function reservation_key(id)
  return PREFIX .. 'r:' .. id
end

local ENDED = {finalized = true, released = true}
local HELD = {pending = true, expired = true}

-- One reservation's record, or nil; then whether there is one that does not parse.
local function find_reservation(id)
  local key = reservation_key(id)
  local f = redis.pcall('HMGET', key, 'state', 'targets', 'amount', 'charge', 'actual', 'created', 'deadline', 'trace')
  if f.err then return nil, true end
  for index = 1, 8 do
    -- A hash that has none of them is none of ours.
    if not f[index] then return nil, index > 1 or call('EXISTS', key) == 1 end
  end
  local state, amount, targets, are_targets_sound = f[1], f[3], parse_targets(f[2])
  local are_numbers = is_amount(f[4]) and is_amount(f[5]) and is_amount(f[6]) and is_amount(f[7])
    and (amount == '' or is_amount(amount))
  -- Only what came to its end without a reserve has no amount, and only such a release has no targets.
  local is_whole_record = HELD[state] and amount ~= '' and #targets > 0 or ENDED[state]
  if not (are_numbers and are_targets_sound and is_whole_record) then return nil, true end
  return {
    id = id, key = key, fields = f, state = state, targets = targets, amount = amount, charge = f[4],
    deadline = tonumber(f[7]), trace = f[8],
  }, false
end

-- A record that does not parse stops the call before anything is written.
local function load_reservation(id)
  local known, is_damaged = find_reservation(id)
  if is_damaged then fail('reservation ' .. id .. ' is damaged') end
  return known
end

local function kind_of(account)
  return match(account, '^[^:]+')
end

-- Each account once, whatever its periods.
local function accounts_in(targets)
  local accounts, seen = {}, {}
  for _, target in ipairs(targets) do
    if not seen[target.account] then accounts[#accounts + 1] = target.account end
    seen[target.account] = true
  end
  return accounts
end

local function kinds_of(targets)
  if targets.kinds then return targets.kinds end
  local kinds = accounts_in(targets)
  for index, account in ipairs(kinds) do kinds[index] = kind_of(account) end
  targets.kinds = concat(kinds, ' ')
  return targets.kinds
end

-- Reads and checks the counters of targets and what is kept beside them, so that no later write fails half way.
local function load_counters(targets)
  for _, target in ipairs(targets) do
    local counter = target.counter
    if not counter.holds then
      local figures = call('HMGET', counter.key, 'spent', 'reserved', 'adjusted', 'repaired')
      counter.spent, counter.reserved, counter.adjusted = figures[1] or '0', figures[2] or '0', figures[3] or '0'
      counter.repaired = figures[4]
      if not (is_whole(counter.spent) and is_whole(counter.reserved) and is_whole(counter.adjusted)) then
        fail('counter ' .. counter.key .. ' is damaged')
      end
      counter.holds = call('ZCARD', counter.pending)
      counter.is_kept = counter.holds > 0
    end
  end
end

local function increase(counter, field, delta)
  if delta == '0' then return end
  local after = call('HINCRBY', counter.key, field, delta)
  counter[field] = after < EXACT and after > -EXACT and whole(after) or call('HGET', counter.key, field)
end

-- Changes one counter, and tells the change as the journal has it.
local function book(target, spent_delta, reserved_delta)
  local counter = target.counter
  increase(counter, 'spent', spent_delta)
  increase(counter, 'reserved', reserved_delta)
  return concat({target.account, target.period, target.window, target.limit,
    spent_delta, reserved_delta, counter.spent, counter.reserved}, ' ')
end

-- A counter that is not there reads as one that shows nothing. One that was repaired is kept: it knows up to which seq.
local function shows_nothing(counter)
  return counter.spent == '0' and counter.reserved == '0' and counter.adjusted == '0' and not counter.repaired
end

-- Kept while something is pending on it, and then for a time after its window's end or its last change, whichever
-- is later; a total has no end. A counter that is back at nothing is dropped at once: whoever sends random tokens must not
-- leave one for each of them.
local function keep_counter(target)
  local counter = target.counter
  if counter.holds == 0 and shows_nothing(counter) then
    call('DEL', counter.key)
    counter.is_kept = false
    return
  end
  if target.ends >= FOREVER_MS then return end
  if counter.holds == 0 then
    call('PEXPIRE', counter.key, whole(math.max(NOW, target.ends) + COUNTERS_MS - NOW))
    counter.is_kept = false
  elseif not counter.is_kept then
    call('PERSIST', counter.key)
    counter.is_kept = true
  end
end

-- Drops records of which every entry is older than the last JOURNAL_MAX. At most some hundred a call: after the setting was
-- lowered it takes several.
local function trim_journal()
  for _ = 1, 8 do
    local oldest, dropped = call('ZRANGE', JOURNAL, '0', '31'), 0
    for _, record in ipairs(oldest) do
      local _, _, at_its_end = read_head(record)
      if at_its_end and at_its_end > entries - JOURNAL_MAX then break end
      dropped = dropped + 1
    end
    if dropped > 0 then call('ZREMRANGEBYRANK', JOURNAL, '0', whole(dropped - 1)) end
    if dropped < 32 then return end
  end
end

-- The records of a reservation that came to nothing: its reserve leaves the journal for them.
local function put_voided(reserved_at, released_at, record)
  local reserve = reserved_at and is_amount(reserved_at) and call('ZRANGEBYSCORE', JOURNAL, reserved_at, reserved_at)[1]
  if reserve then
    call('ZREM', JOURNAL, reserve)
    call('ZADD', VOIDED, reserved_at, reserve, released_at, record)
  else
    call('ZADD', VOIDED, released_at, record)
  end
  call('ZREMRANGEBYRANK', VOIDED, '0', whole(-VOIDED_MAX - 1))
  call('PEXPIRE', VOIDED, REMEMBER_MS)
  return reserve
end

-- One record for all changes of a verb. Its reason comes last, for it may hold anything. A release also names the seq of its
-- reserve, if that wrote a record.
local function write_down(op, id, status, changes, reserve_trace, reason, reserved_at)
  local is_void = status == 'released'
  seq = seq + #changes
  if not is_void then entries = entries + #changes end
  if not is_void and op ~= 'reserve' then bookings = bookings + #changes end
  local at = whole(seq)
  local record = concat({at .. ' ' .. whole(bookings) .. ' ' .. whole(entries), op, id, status, whole(NOW), trace,
    reserve_trace, concat(changes, ' '), reason}, '\n')
  if not is_void then
    call('ZADD', JOURNAL, at, record)
    if entries % TRIM_EVERY < #changes then trim_journal() end
  elseif put_voided(reserved_at, at, record) then
    entries = entries - #changes
  end
  if wants_entries or op == 'expire' then records[#records + 1] = record end
end

-- Books the same change on every target and writes it down. Apart from a repair, the only place where counters change.
local function post(op, id, status, targets, spent_delta, reserved_delta, reserve_trace, reason, reserved_at)
  local changes = {}
  local is_change = spent_delta ~= '0' or reserved_delta ~= '0'
  for index, target in ipairs(targets) do
    if is_change then
      changes[index] = book(target, spent_delta, reserved_delta)
      if op == 'adjust' then increase(target.counter, 'adjusted', spent_delta) end
    end
    keep_counter(target)
  end
  -- Only a metric's figure: a damaged one stops nobody.
  if reserved_delta ~= '0' then redis.pcall('HINCRBY', TOTALS, kinds_of(targets), reserved_delta) end
  if is_change then write_down(op, id, status, changes, reserve_trace, reason, reserved_at) end
end

local function put_lease(id, targets, deadline)
  local score = whole(deadline)
  call('ZADD', LEASES, score, id)
  for _, target in ipairs(targets) do
    local counter = target.counter
    local added = call('ZADD', counter.pending, score, id)
    counter.holds = counter.holds and counter.holds + added
  end
  is_nothing_due = is_nothing_due and deadline > NOW
end

local function drop_hold(counter, id)
  local dropped = call('ZREM', counter.pending, id)
  counter.holds = counter.holds and counter.holds - dropped
end

local function drop_lease(id, targets)
  call('ZREM', LEASES, id)
  for _, target in ipairs(targets) do drop_hold(target.counter, id) end
end

-- Turns a pending reservation, whose counters are loaded, into an expired one: its hold is given back, its charge
-- booked.
local function expire(known, charge, reason)
  -- Every check is above this line and every write below it: Redis does not roll back.
  ensure_generation()
  drop_lease(known.id, known.targets)
  call('HSET', known.key, 'state', 'expired', 'charge', charge)
  call('PEXPIRE', known.key, REMEMBER_EXPIRED_MS)
  post('expire', known.id, 'expired', known.targets, charge, negative(known.amount), known.trace, reason)
end

-- Expires what a verb or a sweep meets in passing, in the index of a counter or, without one, in LEASES. Only a damaged
-- store has a lease without its reservation, or one that cannot be booked. Neither may stop others: the first is dropped,
-- and an audit shows what it held; the second is tried again later.
local function expire_id(id, counter)
  if counter then drop_hold(counter, id) else call('ZREM', LEASES, id) end
  local due = find_reservation(id)
  if not due or due.state ~= 'pending' then
    call('ZREM', LEASES, id)
  elseif pcall(load_counters, due.targets) then
    expire(due, due.charge, '')
  else
    local later = whole(NOW + TRIED_AGAIN_MS)
    call('ZADD', LEASES, later, id)
    -- One of these keys may be what is damaged.
    for _, target in ipairs(due.targets) do
      redis.pcall('ZADD', target.counter.pending, later, id)
      target.counter.holds = nil
    end
    if counter then call('ZADD', counter.pending, later, id) end
  end
end

local function first_due(leases, count)
  return call('ZRANGEBYSCORE', leases, '-inf', whole(NOW), 'LIMIT', '0', whole(count))
end

local function expire_indexed(targets)
  local left = SWEPT_PER_VERB
  for _, target in ipairs(targets) do
    if left <= 0 then return end
    for _, id in ipairs(first_due(target.counter.pending, left)) do
      expire_id(id, target.counter)
      left = left - 1
    end
  end
end

-- Where nothing at all is due, nothing is on these. What a damaged store has on a counter alone is found when it refuses
-- somebody, and by an audit. A key of another type stops the call here.
local function expire_due_on(targets)
  if is_nothing_due then return false end
  is_nothing_due = not first_due(LEASES, 1)[1]
  if is_nothing_due then return false end
  expire_indexed(targets)
  return true
end

-- What pending reservations hold on a counter: the amounts of lasting leases, and of due ones.
local function amounts_held(pending)
  local held, due = {}, {}
  for _, id in ipairs(call('ZRANGE', pending, '0', '-1')) do
    local known = find_reservation(id)
    if known and known.state == 'pending' then
      local amounts = NOW >= known.deadline and due or held
      amounts[#amounts + 1] = known.amount
    end
  end
  return held, due
end

local function leases_due(targets)
  for _, target in ipairs(targets) do
    if first_due(target.counter.pending, 1)[1] then return true end
  end
  return false
end

-- What is known of an id, after expiring it if its lease is over, and then due leases on its counters; its targets;
-- and whether there were any due leases at all.
local function open(id, packed)
  load_meta()
  local known = load_reservation(id)
  if known and known.state == 'pending' and NOW >= known.deadline then
    load_counters(known.targets)
    expire(known, known.charge, '')
    known = load_reservation(id)
  end
  local targets = known and known.targets or {}
  if #targets == 0 then targets = parse_targets(packed) end
  return known, targets, expire_due_on(targets)
end

local function remember(known, state, actual, for_ms)
  call('HSET', known.key, 'state', state, 'actual', actual)
  call('PEXPIRE', known.key, for_ms or REMEMBER_MS)
end

local function remember_unreserved(id, state, packed, actual, for_ms)
  local key = reservation_key(id)
  call('HSET', key, 'state', state, 'targets', packed, 'amount', '', 'charge', '0', 'actual', actual,
    'created', '0', 'deadline', '0', 'trace', '')
  call('PEXPIRE', key, for_ms or REMEMBER_MS)
end

local function accounts_of(targets)
  local accounts = accounts_in(targets)
  table.sort(accounts)
  return concat(accounts, ' ')
end

local function outside_window(targets)
  for _, target in ipairs(targets) do
    if NOW < target.starts or NOW >= target.ends then return true end
  end
  return false
end

local function answer(status, known, targets, rejection)
  ensure_generation()
  targets = targets or {}
  load_counters(targets)
  local balances = {}
  for _, target in ipairs(targets) do
    balances[#balances + 1] = target.counter.spent
    balances[#balances + 1] = target.counter.reserved
  end
  return {status, NOW, generation, seq, limits_version, known and known.fields or false,
    rejection or false, records, seq - seq_before, balances}
end

-- What an ending is about to end: what is known of the id, and its targets with their counters loaded. In the third place,
-- and then alone, the answer where there is nothing to end.
local function open_to_end(id, packed, age_ms)
  local known, targets = open(id, packed)
  if known and ENDED[known.state] then
    return nil, nil, answer('already_' .. known.state, known, known.targets)
  end
  if not known and tonumber(age_ms) > tonumber(REMEMBER_MS) then return nil, nil, answer('too_old') end
  load_counters(targets)
  return known, targets
end
