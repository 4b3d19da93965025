-- Hands in what an attempt took. Only the first time counts for money.
-- KEYS: the slots, the rates, the purses, and the index of purses.
-- ARGV[1], words: how long ago it ended (us), id, how many slots, how many rates; for each purse: life, spent (or -:
-- as reserved), reserved, end (ms, or 0), 1 with a ledger; for each slot: who; for each rate: us a unit, what was not used.
-- The life of a purse begins when it is first touched, and again after a server lost its data.
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local argument = string.gmatch(ARGV[1], '%S+')
local ended, id, slots, rates = now - argument(), argument(), tonumber(argument()), tonumber(argument())

-- Money first: on a full server it is refused before anything is changed.
for i = slots + rates + 1, #KEYS - 1 do
  local key, life, spent, reserved, ends, ledger =
    KEYS[i], argument(), argument(), argument(), argument(), argument()
  local held, left, lives = unpack(redis.call('HMGET', key, 'r:' .. id, 's:' .. id, 'life'))
  local over = ends ~= '0' and tonumber(ends) < now / 1000
  if held and not left then
    redis.call('HINCRBY', key, 'taken', spent == '-' and held or spent)
    if held ~= '0' then redis.call('HINCRBY', key, 'taken', '-' .. held) end
    if life ~= lives then redis.call('HSET', key, 's:' .. id, 1) end
    redis.call('HDEL', key, 'r:' .. id)
  elseif life ~= lives and not left and not over then
    if not lives then
      -- With a ledger the first touch finds the bill there.
      if ledger == '0' then
        redis.call('HSET', key, 'taken', 0, 'life', string.format('%.0f', now))
        redis.call('ZADD', KEYS[#KEYS], ends == '0' and '+inf' or ends, key)
        if ends ~= '0' then redis.call('PEXPIREAT', key, string.format('%.0f', ends + 86400000)) end
        lives = '0'
      end
    elseif ledger == '1' and ended < tonumber(lives) then
      lives = nil -- its row was there when this life began
    end
    if lives then
      redis.call('HINCRBY', key, 'taken', spent == '-' and reserved or spent)
      redis.call('HSET', key, 's:' .. id, 1)
    end
  end
end

for i = 1, slots do redis.call('ZREM', KEYS[i], argument()) end
for i = 1, rates do
  local each, unused = tonumber(argument()), tonumber(argument())
  local booked = tonumber(redis.call('GET', KEYS[slots + i]) or now)
  if booked < now then booked = now end
  local due = booked - each * unused
  if due > now then
    redis.call('SET', KEYS[slots + i], string.format('%.0f', due), 'PX', math.ceil((due - now) / 1000) + 1)
  else
    redis.call('DEL', KEYS[slots + i])
  end
end
return 1
