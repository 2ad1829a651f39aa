-- Shared by what sums up what is pending on a counter.

-- What pending reservations hold on a counter: the amounts of lasting leases, and of due ones.
local function amounts_held(pending)
  local held, due = {}, {}
  for _, id in ipairs(call('ZRANGE', pending, '0', '-1')) do
    local known = find_reservation(id)
    if known and known.state == STATE_PENDING then
      local amounts = is_due(known) and due or held
      amounts[#amounts + 1] = known.amount
    end
  end
  return held, due
end
