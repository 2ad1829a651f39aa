-- Behind the verbs of a script: does those of the call, each whatever became of those before it. The reply is a list of their
-- answers, the records of each behind it, and the token; of a verb that is alone and answers by a text it is one text, with `=` between answer and token. In the
-- place of a verb that failed, and so has changed nothing, stands `-` and why.

-- A script has room for 200 local variables: what only this file needs are those of a block.
local run
do

local FIRST_VERB_AT = 4

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

-- What the first word of a verb says: its function, how many words it has, and its settings, which are the same in call after call.
local function settings_in(word)
  local count, name, words = match(word, '^(%d+) (%S+)(.*)$')
  local head = {verb = verbs[name], count = tonumber(count)}
  for setting in gmatch(words, '%S+') do head[#head + 1] = setting end
  heads[word] = head
  remembered = remembered + 1
  return head
end

function run(keys, args)
  begin_call(keys, args)
  local replies, last, at = {}, 0, FIRST_VERB_AT
  for number = 1, tonumber(args[FIRST_VERB_AT - 1]) do
    settings = heads[args[at]] or settings_in(args[at])
    local next_at = at + settings.count
    trace, wants_entries, n_records, seq_before = args[at + 1], true, 0, seq
    local is_done, reply = pcall(settings.verb, spread(args, at + 2, next_at - 1))
    last, at = last + 1, next_at
    replies[last] = is_done and reply or '-' .. error_text(reply) .. ENDING
    if is_done and ENDING == '' then
      for number_of_it = 1, n_records do replies[last + number_of_it] = records[number_of_it] end
      last = last + n_records
    end
  end
  write_all_waiting()
  write_counters()
  write_series()
  write_totals()
  if is_meta_read then write_meta() end
  publish_freed()
  if ENDING ~= '' and type(replies[1]) == 'string' then return replies[1] end
  replies[last + 1] = TOKEN
  return replies
end

end
