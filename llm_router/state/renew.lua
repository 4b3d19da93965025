-- Holds slots for another lease. KEYS: slots. ARGV[1], words: lease (us), then who holds each.
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local argument = string.gmatch(ARGV[1], '%S+')
local lease = argument()
for _, key in ipairs(KEYS) do
  redis.call('ZADD', key, 'XX', now + lease, argument())
  redis.call('PEXPIRE', key, math.ceil(lease / 500))
end
return 1
