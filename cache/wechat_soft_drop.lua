-- KEYS[1]: something remembered. ARGV[1]: the value that is no longer good.
if redis.call('GET', KEYS[1]) == ARGV[1] then
    return redis.call('DEL', KEYS[1])
end
return 0
