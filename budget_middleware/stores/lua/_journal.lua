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
local record_of, append
do

-- Of the record that was made last: its lines, where the journal is behind it, as numbers and as texts, and the record of its reserve.
local lines = {}
local last, booked, held, last_text, booked_text, held_text
local is_void, reserve, voided_at

-- A line for each counter, behind the first. A figure of nothing that does not change is left out. Texts are put together in one step.
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
      line = (reserved ~= '' or reserved_before ~= '0') and line .. ' reserved=' .. reserved_before .. reserved or line
    elseif reserved == '' and reserved_before == '0' then
      line = line .. ' spent=' .. spent_before .. spent
    else
      line = line .. ' spent=' .. spent_before .. spent .. ' reserved=' .. reserved_before .. reserved
    end
    lines[at + 1] = line
  end
end

-- One record for all changes of a verb, while the counters still show what was before: its text, and the seq of its last entry. It is
-- the one that `append` appends. `tail` is its reason and its bill, as Python packs them. For a release also the seq of its reserve.
function record_of(id, status, changes, reserve_trace, tail, reserved_at)
  local count = #changes
  is_void, reserve, voided_at = status == STATUS_RELEASED, nil, reserved_at
  if is_void and reserved_at then reserve = find_record(reserved_at) end
  last, booked = seq + count, books_nothing(status) and bookings or bookings + count
  held = is_void and (reserve and entries - count or entries) or entries + count
  last_text = format(WHOLE, last)
  booked_text = booked == bookings and bookings_text or format(WHOLE, booked)
  held_text = held == last and last_text or format(WHOLE, held)
  lines[1] = last_text .. ' ' .. booked_text .. ' ' .. (is_void and entries_text or held_text)
    .. '\n' .. FORMAT_WORD .. ' status=' .. status .. ' id=' .. id .. ' at=' .. NOW_MS .. (trace == '' and '' or ' trace=') .. trace
    .. (reserve_trace == '' and '' or ' reserve_trace=') .. reserve_trace
  write_lines(changes, count)
  local text = concat(lines, '\n', 1, count + 1)
  return tail == '' and text or text .. tail, last_text
end

-- Appends it. On a journal of another type the call stops here, and nothing has changed.
function append(record, count, is_wanted)
  if is_void then
    put_voided(voided_at, reserve, last_text, record)
  else
    local problem = put(queue_of(JOURNAL).alone, record, last_text)
    if problem then error(problem) end
  end
  seq, bookings, entries = last, booked, held
  seq_text, bookings_text, entries_text = last_text, booked_text, held_text
  if not is_void and entries % TRIM_EVERY < count then trim_journal() end
  if is_wanted then
    n_records = n_records + 1
    records[n_records] = record
  end
end

end
