-- Behind the verbs of a script: does those of the call, each whatever became of those before it. The reply is a list of their
-- answers and the token; of a verb that is alone and answers by a text it is one text, with `=` between answer and token. In the
-- place of a verb that failed, and so has changed nothing, stands `-` and why.

-- Redis reports its own errors in a table since 7.0, and as a text before.
local function error_text(fault)
  return tostring(type(fault) == 'table' and fault.err or fault)
end

-- Tells who waits for held budget of which accounts less is held now. Nobody is to lose an ending because this is not allowed.
local function publish_freed()
  if not next(freed_accounts) then return end
  local accounts = {}
  for freed in pairs(freed_accounts) do accounts[#accounts + 1] = freed end
  try('PUBLISH', PREFIX .. KEY_CHANNEL, concat(accounts, ' '))
end

local function run(keys, args)
  begin_call(keys, args)
  local replies, at = {}, FIRST_VERB_AT
  for number = 1, tonumber(args[FIRST_VERB_AT - 1]) do
    local last = at + tonumber(args[at])
    trace, wants_entries, n_parts, seq_before = args[at + 2], true, 2, seq
    local is_done, reply = pcall(verbs[args[at + 1]], spread(args, at + 3, last))
    replies[number] = is_done and reply or '-' .. error_text(reply)
    at = last + 1
  end
  write_all_waiting()
  write_counters()
  write_series()
  write_totals()
  if is_meta_read then write_meta() end
  publish_freed()
  replies[#replies + 1] = TOKEN
  return #replies == 2 and type(replies[1]) == 'string' and replies[1] .. '=' .. TOKEN or replies
end
