-- Book what an audit found missing on one counter: a difference on *spent*, and whatever leads *reserved* to the sum of
-- what is pending. The entry stands for itself: it need not begin where the one before it ended.
-- ARGV[8] id  [9] target  [10] what spent lacks, nano-dollars  [11] the seq up to which that was found  [12] reason
-- 'duplicate': the counter was repaired after that seq, so that what was found is not so any more.

local id, spent_delta, found_at_seq, reason = ARGV[8], ARGV[10], tonumber(ARGV[11]), ARGV[12]

load_meta()
local target = parse_targets(ARGV[9])[1]
load_counters({target})
local repaired_at_seq = tonumber(call('HGET', target.counter, 'repaired') or '') or 0
if repaired_at_seq > found_at_seq then return answer('duplicate', nil, {target}) end
local held, due = amounts_held(target.pending)

-- Every check is above this line and every write below it: Redis does not roll back.
ensure_generation()
-- Redis adds exactly where a Lua number would round; outside of this script nobody sees the field.
for _, amounts in ipairs({held, due, {negative(target.reserved)}}) do
  for _, amount in ipairs(amounts) do call('HINCRBY', target.counter, 'lacks', amount) end
end
local reserved_delta = call('HGET', target.counter, 'lacks')
call('HDEL', target.counter, 'lacks')

call('HSET', target.counter, 'repaired', whole(seq + 1))
write_down('adjust', id, 'repaired', {change(target, spent_delta, reserved_delta)}, '', reason)
keep_counter(target)
-- The journal has led *spent*; a part of it that is more than the whole is not so.
if tonumber(target.spent) < tonumber(target.adjusted) then call('HSET', target.counter, 'adjusted', target.spent) end
return answer('repaired', nil, {target})
