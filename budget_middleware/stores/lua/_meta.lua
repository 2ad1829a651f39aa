-- The meta hash: generation, limits_version, and seq, bookings and entries of the journal (`_journal.lua`).

local function is_meta_sound(meta_seq, version, meta_bookings, meta_entries)
  return is_amount(meta_seq) and tonumber(meta_seq) < EXACT_NANOS and is_whole(version)
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
  if last >= EXACT_NANOS then fail('the journal is damaged') end
  -- Without its seq a generation is nobody's.
  generation, limits_version = meta[2] and meta[1], version
  -- Limits whose version is lost are none that a gateway knows.
  if not generation and version == '0' and call('EXISTS', PREFIX .. KEY_LIMITS) == 1 then limits_version = whole(NOW) end
  seq, seq_before, written_seq = last, last, last
end

-- A store that was emptied gets a new generation.
local function ensure_generation()
  if generation then return end
  generation = TOKEN
  call('HSET', META, 'generation', generation, 'seq', whole(seq), 'limits_version', limits_version)
end
