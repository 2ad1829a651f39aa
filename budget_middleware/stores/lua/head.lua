-- The store's clock, generation, last seq and limits version.

load_meta()
return answer('unknown')
