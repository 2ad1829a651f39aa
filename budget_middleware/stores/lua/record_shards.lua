-- Record how a ledger is sharded, where nothing is recorded and the journal is empty, or with '1' also where it is not ('' to
-- ask only). Returns what is recorded, and the seq of the journal.

function verbs.record_shards(shards, again)
  load_meta()
  local recorded = call('HGET', META, 'shards') or ''
  if recorded == '' and shards ~= '' and (seq == 0 or again == '1') then
    ensure_generation()
    call('HSET', META, 'shards', shards)
    recorded = shards
  end
  return {recorded, whole(seq)}
end
