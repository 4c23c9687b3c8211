-- KEYS[1]: a code. ARGV[1]: who wants to resolve it (one till and one try of it).
-- The first to ask has it for good; the same one may hear the answer again while the code lives, nobody else ever.
local found = redis.call('HMGET', KEYS[1], 'kept', 'resolver')
if not found[1] then
    return false
end
if not found[2] then
    redis.call('HSET', KEYS[1], 'resolver', ARGV[1])
elseif found[2] ~= ARGV[1] then
    return false
end
return found[1]
