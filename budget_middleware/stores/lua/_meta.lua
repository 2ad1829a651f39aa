-- The meta hash: format, generation, limits_version, seq, bookings and entries of the journal (`_journal.lua`), and until when
-- some worker listens for endings (`listen.lua`).

-- What stands in the first place of each record, and in the meta hash for a store that older versions cannot work on.
local function is_newer(version)
  return (tonumber(version) or 0) > FORMAT
end

local function newer(version)
  return 'was written by a newer version of budget_middleware (format ' .. version .. '; this one reads up to '
    .. FORMAT .. '): upgrade'
end

local function is_meta_sound(meta_seq, version, meta_bookings, meta_entries)
  return is_figure(meta_seq) and tonumber(meta_seq) < EXACT and is_whole(version)
    and is_figure(meta_bookings) and is_whole(meta_entries)
end

-- The seq of a record, its bookings and its entries; nil where there is none.
local function read_head(record)
  local at, booked, held = match(record or '', '^(%d+) (%d+) (%-?%d+)\n')
  return tonumber(at), tonumber(booked), tonumber(held)
end

-- The last record of the journal or of the voided ones, if it is beyond the seq of the meta hash, and its seq.
local function newest_record(last)
  local newest, score
  for _, records_of in ipairs({JOURNAL, VOIDED}) do
    local found = call('ZREVRANGEBYSCORE', records_of, '+inf', '(' .. whole(last), 'WITHSCORES', 'LIMIT', '0', '1')
    if found[1] and (not score or tonumber(found[2]) > score) then newest, score = found[1], tonumber(found[2]) end
  end
  return newest, score
end

-- Continues a journal that is ahead of its meta hash: no seq stands for two entries. A call writes both, so only somebody
-- who wrote past the ledger can have parted them: a meta hash without its seq is seen by every verb, any other by a sweep.
local function catch_up_with_journal()
  local newest, score = newest_record(seq)
  local _, booked, held = read_head(newest)
  if score and score >= EXACT then fail('the journal is damaged') end
  seq, bookings, entries = score or seq, booked or bookings, held or entries
  seq_before = seq
end

local function load_meta()
  if seq then return end
  local meta = call('HMGET', META, 'generation', 'seq', 'limits_version', 'bookings', 'entries', 'format', 'listened_until')
  local last, version, booked, held = meta[2] or '0', meta[3] or '0', meta[4] or '0', meta[5] or '0'
  if not is_meta_sound(last, version, booked, held) then fail('the meta hash is damaged') end
  if is_newer(meta[6]) then fail('this store ' .. newer(meta[6])) end
  is_waited_for = (tonumber(meta[7]) or 0) > NOW
  -- Without its seq a generation is nobody's.
  generation, limits_version, is_format_recorded = meta[2] and meta[1], version, meta[6] ~= false
  -- Limits whose version is lost are none that a gateway knows.
  if not generation and version == '0' and call('EXISTS', PREFIX .. KEY_LIMITS) == 1 then limits_version = whole(NOW) end
  seq, bookings, entries = tonumber(last), tonumber(booked), tonumber(held)
  written_seq, seq_before = seq, seq
  if not meta[2] then catch_up_with_journal() end
  written_seq, seq_before = seq, seq
end

-- A store that was emptied gets a new generation.
local function ensure_generation()
  if not generation then
    generation = TOKEN
    call('HSET', META, 'generation', generation, 'seq', whole(seq), 'limits_version', limits_version)
  end
  if not is_format_recorded then
    call('HSET', META, 'format', FORMAT)
    is_format_recorded = true
  end
end

local function write_meta()
  if seq == written_seq then return end
  call('HSET', META, 'seq', whole(seq), 'bookings', whole(bookings), 'entries', whole(entries))
end
