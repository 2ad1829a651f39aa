-- The journal is a sorted set of records, scored by the seq of their last entry. A record is what one verb changed: one
-- entry for each counter. It begins with `seq bookings entries`: the seq of its last entry, how many entries that may
-- have changed *spent* the journal has had so far, and how many entries it has had in all without those that were voided.
-- A reservation that is released has changed no *spent*: its two records move to a set of their own, `voided`, that is
-- short and lasts no longer than a finished id, so that whoever makes many of them pushes nothing else out of the journal.
-- Bookings are numbered in a row, so that an audit sees whether one is missing, however many voided ones are.

local TRIM_EVERY = math.max(1, math.min(64, math.floor(JOURNAL_MAX / 16)))

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
  local is_void = status == STATUS_RELEASED
  seq = seq + #changes
  if not is_void then entries = entries + #changes end
  if not books_nothing(status) then bookings = bookings + #changes end
  local at = whole(seq)
  local record = concat({at .. ' ' .. whole(bookings) .. ' ' .. whole(entries), op, id, status, whole(NOW), trace,
    reserve_trace, concat(changes, ' '), reason}, '\n')
  if not is_void then
    call('ZADD', JOURNAL, at, record)
    if entries % TRIM_EVERY < #changes then trim_journal() end
  elseif put_voided(reserved_at, at, record) then
    entries = entries - #changes
  end
  if wants_entries or op == OP_EXPIRE then records[#records + 1] = record end
end
