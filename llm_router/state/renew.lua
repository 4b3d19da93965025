-- Holds slots for another lease. KEYS: slots. ARGV: lease (us), then who holds each.
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
for i, key in ipairs(KEYS) do
  redis.call('ZADD', key, 'XX', now + ARGV[1], ARGV[i + 1])
  redis.call('PEXPIRE', key, math.ceil(ARGV[1] / 500))
end
return 1
