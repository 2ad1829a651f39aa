-- The store's clock, generation, last seq and limits version.

function verbs.head()
  load_meta()
  return answer(STATUS_UNKNOWN)
end
