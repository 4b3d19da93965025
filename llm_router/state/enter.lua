-- Grants everything that one attempt asks for, or nothing.
-- KEYS: the slots, the rates, the purses, and the index of purses.
-- ARGV[1], words: id, patience (us), lease of a slot (us), how many slots, how many rates; for each slot: who, how
-- many; for each rate: us a unit, cost, burst (us); for each purse: limit, amount, end (ms, or 0), first amount (or -).
-- Arguments and answers are one text each: a client spends its time on their number.
-- Money is whole numbers in text: HINCRBY is exact in 64 bits, Lua's doubles are not beyond 9,007 USD.
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local argument = string.gmatch(ARGV[1], '%S+')
local id, patience, lease = argument(), tonumber(argument()), tonumber(argument())
local slots, rates = tonumber(argument()), tonumber(argument())
local first = slots + rates
local function over(amount, limit)
  return #amount > #limit or (#amount == #limit and amount > limit)
end

local who = {}
for i = 1, slots do
  local name, count = argument(), tonumber(argument())
  redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', now)
  if redis.call('ZCARD', KEYS[i]) >= count and not redis.call('ZSCORE', KEYS[i], name) then
    return 'slot ' .. i
  end
  who[i] = name
end

local due, wait = {}, 0
for i = 1, rates do
  local each, cost, burst = tonumber(argument()), tonumber(argument()), tonumber(argument())
  local booked = tonumber(redis.call('GET', KEYS[slots + i]) or now)
  if booked < now then booked = now end
  due[i] = booked + each * cost
  local longer = due[i] - burst - now
  if longer > patience then return string.format('rate %d %.0f', i, longer) end
  if longer > wait then wait = longer end
end

local claims = {}
for i = first + 1, #KEYS - 1 do
  local claim = {key = KEYS[i], limit = argument(), amount = argument(), ends = argument(), seed = argument()}
  claim.taken, claim.life, claim.held, claim.left =
    unpack(redis.call('HMGET', claim.key, 'taken', 'life', 'r:' .. id, 's:' .. id))
  if not claim.life and claim.seed == '-' then return 'seed ' .. i - first end
  -- Left before it came: the client gave up on this request, and the server was only slow.
  if claim.left then return 'left ' .. i - first end
  claims[#claims + 1] = claim
end

local refused
for i, claim in ipairs(claims) do
  if not claim.life then
    claim.life, claim.taken = string.format('%.0f', now), claim.seed
    redis.call('HSET', claim.key, 'taken', claim.seed, 'life', claim.life)
    redis.call('ZADD', KEYS[#KEYS], claim.ends == '0' and '+inf' or claim.ends, claim.key)
    -- A day longer than its window, for the bills of attempts that began in it.
    if claim.ends ~= '0' then redis.call('PEXPIREAT', claim.key, string.format('%.0f', claim.ends + 86400000)) end
  end
  if not refused and claim.amount ~= '0' and not claim.held then
    redis.call('HINCRBY', claim.key, 'taken', claim.amount)
    claim.added = true
    local taken = redis.call('HGET', claim.key, 'taken')
    if over(taken, claim.limit) then refused = i else claim.taken = taken end
  end
end
if refused then
  for _, claim in ipairs(claims) do
    if claim.added then redis.call('HINCRBY', claim.key, 'taken', '-' .. claim.amount) end
  end
end

local answer = {refused and 'claim' or 'granted', refused or 0, string.format('%.0f', wait)}
for _, claim in ipairs(claims) do
  if not refused and not claim.held then redis.call('HSET', claim.key, 'r:' .. id, claim.amount) end
  answer[#answer + 1] = refused and redis.call('HGET', claim.key, 'taken') or claim.taken
  answer[#answer + 1] = claim.life
end
-- Asked again under the same id: the rates are booked already.
if refused or (claims[1] and claims[1].held) then return table.concat(answer, ' ') end
for i = 1, rates do
  redis.call('SET', KEYS[slots + i], string.format('%.0f', due[i]), 'PX', math.ceil((due[i] - now) / 1000) + 1)
end
for i = 1, slots do
  redis.call('ZADD', KEYS[i], now + lease, who[i])
  redis.call('PEXPIRE', KEYS[i], math.ceil(lease / 500))
end
return table.concat(answer, ' ')
