-- Behind the verbs of a script: does those of the call, each whatever became of those before it. In the place of one that
-- failed stands a text, why; it has changed nothing.

local unpack = unpack or table.unpack

-- Redis tells its own errors in a table since 7.0, and in a text before.
local function told(fault)
  return tostring(type(fault) == 'table' and fault.err or fault)
end

local replies, at = {}, FIRST_VERB_AT
for number = 1, tonumber(ARGV[FIRST_VERB_AT - 1]) do
  local last = at + tonumber(ARGV[at])
  trace, wants_entries, records, seq_before = ARGV[at + 2], true, {}, seq
  local is_done, reply = pcall(verbs[ARGV[at + 1]], unpack(ARGV, at + 3, last))
  replies[number] = is_done and reply or told(reply)
  at = last + 1
end
if seq ~= written_seq then
  call('HSET', META, 'seq', whole(seq), 'bookings', whole(bookings), 'entries', whole(entries))
end
replies[#replies + 1] = TOKEN
return replies
