-- Expire at most so many due leases, the oldest first; 'leases_due' while some are left. Also those of gateways of the
-- previous format, whose owners may be gone.

function verbs.sweep(at_most)
  load_meta()
  catch_up_with_journal()
  local left = tonumber(at_most)
  for _, index in ipairs({HOLDS, PREFIX .. KEY_PREVIOUS_HOLDS}) do
    local due = left > 0 and first_due(index, whole(left)) or {}
    for _, id in ipairs(due) do expire_id(id, index) end
    left = left - #due
  end
  return answer(left > 0 and STATUS_EXPIRED or STATUS_LEASES_DUE)
end
