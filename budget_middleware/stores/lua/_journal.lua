-- The journal is a sorted set of records, scored by the seq of their last entry. A record is what one verb changed: one
-- entry for each counter. It begins with `seq bookings entries`: the seq of its last entry, how many entries that may
-- have changed *spent* the journal has had so far, and how many entries it has had in all without those that were voided.
-- Then come `2 status=… id=… at=…`, a line for each counter with what it showed before and by how much that has changed,
-- and a reason and a bill where there are any.
--
-- A reservation that is released has changed no *spent*: its two records move to a set of their own, `voided`, that is
-- short and lasts no longer than a finished id, so that many of them push nothing else out of the journal.
-- Bookings are numbered in a row, so that an audit sees whether one is missing, however many voided ones are.

local TRIMMED_AT_ONCE = 256

-- Drops records of which every entry is older than the last JOURNAL_MAX. Only the oldest is read. It says how many seqs before
-- it belong to records that were voided; before the others there are as many or more, so a seq tells which of them are too old
-- for sure. At most some thousand a call: after the setting was lowered it takes several.
local function trim_journal()
  write_waiting(JOURNAL)
  for _ = 1, 8 do
    local oldest = call('ZRANGE', JOURNAL, '0', '0')[1]
    if not oldest then return end
    local at, _, at_its_end = read_head(oldest)
    if not at then
      -- Nobody can read it.
      call('ZREMRANGEBYRANK', JOURNAL, '0', '0')
    elseif at_its_end > entries - JOURNAL_MAX then
      return
    else
      local last = math.min(at - at_its_end + entries - JOURNAL_MAX, at + TRIMMED_AT_ONCE)
      call('ZREMRANGEBYSCORE', JOURNAL, '-inf', whole(last))
    end
  end
end

-- The record of a reserve, where it stands in the journal still.
local function find_record(at)
  if not is_figure(at) then return nil end
  write_waiting(JOURNAL)
  return call('ZRANGEBYSCORE', JOURNAL, at, at)[1]
end

-- The records of a reservation that came to nothing: its reserve leaves the journal for them.
local function put_voided(reserved_at, reserve, released_at, record)
  if reserve then
    call('ZREM', JOURNAL, reserve)
    call('ZADD', VOIDED, reserved_at, reserve, released_at, record)
  else
    call('ZADD', VOIDED, released_at, record)
  end
  call('ZREMRANGEBYRANK', VOIDED, '0', whole(-VOIDED_MAX - 1))
  call('PEXPIRE', VOIDED, REMEMBER_MS)
end

-- A script has room for 200 local variables: what only this needs are those of a block.
local record_of
do

local lines, record = {}, {}

-- A figure of nothing that does not change is left out. Texts are put together in one step.
local function write_lines(changes, count)
  local gain, spent, reserved
  for at = 1, count do
    local change = changes[at]
    if change.gain ~= gain then
      gain = change.gain
      spent, reserved = gain.spent_signed, gain.reserved_signed
    end
    local line, counter = change.target.line, change.counter
    local spent_before, reserved_before = counter.spent, counter.reserved
    if spent == '' and spent_before == '0' then
      lines[at] = (reserved ~= '' or reserved_before ~= '0') and line .. ' reserved=' .. reserved_before .. reserved or line
    elseif reserved == '' and reserved_before == '0' then
      lines[at] = line .. ' spent=' .. spent_before .. spent
    else
      lines[at] = line .. ' spent=' .. spent_before .. spent .. ' reserved=' .. reserved_before .. reserved
    end
  end
end

-- One record for all changes of a verb, while the counters still show what was before: its text, and where the journal is
-- behind it; it holds until the next one is made. `tail` is its reason and its bill, as Python packs them. For a release also the
-- seq of its reserve.
function record_of(id, status, changes, reserve_trace, tail, reserved_at)
  local count = #changes
  write_lines(changes, count)
  local is_void = status == STATUS_RELEASED
  local reserve = is_void and reserved_at and find_record(reserved_at)
  local last, booked = seq + count, books_nothing(status) and bookings or bookings + count
  local held = is_void and (reserve and entries - count or entries) or entries + count
  local last_text = format(WHOLE, last)
  local booked_text = booked == bookings and bookings_text or format(WHOLE, booked)
  local held_text = held == last and last_text or format(WHOLE, held)
  local text = last_text .. ' ' .. booked_text .. ' ' .. (is_void and entries_text or held_text)
    .. '\n' .. FORMAT_WORD .. ' status=' .. status .. ' id=' .. id .. ' at=' .. NOW_MS .. (trace == '' and '' or ' trace=') .. trace
    .. (reserve_trace == '' and '' or ' reserve_trace=') .. reserve_trace .. '\n' .. concat(lines, '\n', 1, count) .. tail
  record.text, record.seq, record.bookings, record.entries = text, last, booked, held
  record.seq_text, record.bookings_text, record.entries_text, record.is_void = last_text, booked_text, held_text, is_void
  record.reserve, record.reserved_at = reserve, reserved_at
  return record
end

end

-- Appends it. On a journal of another type the call stops here, and nothing has changed.
local function append(record, count, is_wanted)
  if record.is_void then
    put_voided(record.reserved_at, record.reserve, record.seq_text, record.text)
  else
    local problem = put(JOURNAL, record.text, record.seq_text)
    if problem then error(problem) end
  end
  seq, bookings, entries = record.seq, record.bookings, record.entries
  seq_text, bookings_text, entries_text = record.seq_text, record.bookings_text, record.entries_text
  if not record.is_void and entries % TRIM_EVERY < count then trim_journal() end
  if is_wanted then
    n_parts = n_parts + 1
    parts[n_parts] = record.text
  end
end
