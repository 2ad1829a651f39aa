"""The texts and fields in which all stores keep what they write: records, sums, refusals and runtime limits."""
