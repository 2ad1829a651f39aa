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

-- A generation is one word: answers have it between others.
local function is_meta_sound(meta_generation, meta_seq, version, meta_bookings, meta_entries)
  return is_figure(meta_seq) and tonumber(meta_seq) < EXACT and is_whole(version)
    and is_figure(meta_bookings) and is_whole(meta_entries) and match(meta_generation, '^%S*$') ~= nil
end

-- The seq of a record, its bookings and its entries; nil where there is none.
local function read_head(record)
  local at, booked, held = match(record or '', '^(%d+) (%d+) (%-?%d+)\n')
  return tonumber(at), tonumber(booked), tonumber(held)
end

-- A script has room for 200 local variables: what only this needs are those of a block.
local load_meta, catch_up_with_journal
do

-- The last record of the journal or of the voided ones, if it is beyond the seq of the meta hash, and its seq.
local function newest_record(last)
  local newest, score
  for _, records_of in ipairs({JOURNAL, VOIDED}) do
    local found = call('ZREVRANGEBYSCORE', records_of, '+inf', '(' .. whole(last), 'WITHSCORES', 'LIMIT', '0', '1')
    if found[1] and (not score or tonumber(found[2]) > score) then newest, score = found[1], tonumber(found[2]) end
  end
  return newest, score
end

local function continue_at(last, booked, held)
  seq, bookings, entries = last, booked, held
  seq_text, bookings_text, entries_text = whole(last), whole(booked), whole(held)
end

-- Continues a journal that is ahead of its meta hash: no seq stands for two entries. A call writes both, so only somebody
-- who wrote past the ledger can have parted them: a meta hash without its seq is seen by every verb, any other by a sweep.
function catch_up_with_journal()
  local newest, score = newest_record(seq)
  local _, booked, held = read_head(newest)
  if score and score >= EXACT then fail('the journal is damaged') end
  continue_at(score or seq, booked or bookings, held or entries)
  seq_before = seq
end

-- Most often it says what the last call wrote there.
function load_meta()
  if is_meta_read then return end
  local meta = call('HMGET', META, 'generation', 'seq', 'limits_version', 'bookings', 'entries', 'format', 'listened_until')
  local last, version, booked, held = meta[2] or '0', meta[3] or '0', meta[4] or '0', meta[5] or '0'
  -- Without its seq a generation is nobody's.
  local found = meta[2] and meta[1]
  if found ~= generation or last ~= seq_text or version ~= limits_version or booked ~= bookings_text or held ~= entries_text then
    if not is_meta_sound(found or '', last, version, booked, held) then fail('the meta hash is damaged') end
    limits_version = version
    continue_at(tonumber(last), tonumber(booked), tonumber(held))
  end
  if is_newer(meta[6]) then fail('this store ' .. newer(meta[6])) end
  is_waited_for = (tonumber(meta[7]) or 0) > NOW
  generation, is_format_recorded = found, meta[6] ~= false
  -- Limits whose version is lost are none that a gateway knows.
  if not generation and version == '0' and call('EXISTS', PREFIX .. KEY_LIMITS) == 1 then limits_version = NOW_MS end
  written_seq, seq_before = seq, seq
  if not meta[2] then catch_up_with_journal() end
  written_seq, seq_before, is_meta_read = seq, seq, true
end

end

-- A store that was emptied gets a new generation.
local function ensure_generation()
  if not generation then
    generation = TOKEN
    call('HSET', META, 'generation', generation, 'seq', seq_text, 'limits_version', limits_version)
  end
  if not is_format_recorded then
    call('HSET', META, 'format', FORMAT)
    is_format_recorded = true
  end
end

local function write_meta()
  if seq == written_seq then return end
  call('HSET', META, 'seq', seq_text, 'bookings', bookings_text, 'entries', entries_text)
end
