-- KEYS[1]: a code. ARGV: what is kept under it, and for how many milliseconds.
-- Answers 1 for a new code; 0 for one that is there already, which stays as it is.
if redis.call('HSETNX', KEYS[1], 'kept', ARGV[1]) == 0 then
    return 0
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
