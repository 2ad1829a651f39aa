-- What is known of some ids, as this version writes it; '' of one that is not known or damaged, and '!' with why of one that
-- a newer version wrote.

function verbs.recall(...)
  local texts = {}
  for at, id in ipairs({...}) do
    local known, problem = find_reservation(id)
    texts[at] = known and known.text or problem and problem ~= IS_DAMAGED and '!' .. problem or ''
  end
  return texts
end
