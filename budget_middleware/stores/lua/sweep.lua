-- Expire due leases, the oldest first; 'leases_due' while some are left.
-- ARGV[8] how many at most

load_meta()
local at_most = tonumber(ARGV[8])
local due = first_due(LEASES, at_most)
for _, id in ipairs(due) do expire_id(id, LEASES) end
return answer(#due < at_most and 'expired' or 'leases_due')
