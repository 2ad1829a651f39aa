-- The store's clock, in milliseconds since the Unix epoch. Apart, so that tests can put a movable one in its place.
local function store_time_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
