#!lua name=tiltshift
-- The writes of the farm, each atomic and fenced. KEYS[1] is always the epoch; ARGV[1] the caller's. A caller
-- with another epoch is no longer the leader and changes nothing. docs/redis.md describes the keys.

local function check_epoch(keys, args)
  if redis.call('GET', keys[1]) ~= args[1] then
    return redis.error_reply('STALE_EPOCH another scheduler leads this farm')
  end
end

-- Takes or keeps the lead. KEYS: epoch, leader. ARGV: name, ttl_ms, epoch held (0: none), by how much a new epoch
-- is greater than the last. A server that knows an earlier epoch than the one held, and no holder but us, came back
-- without this leadership: it begins anew, as a later one.
-- Returns {epoch, holder}: the caller's epoch, or 0 and who leads.
local function lead(keys, args)
  local holder = redis.call('GET', keys[2])
  if holder and holder ~= args[1] then
    return {0, holder}
  end
  local epoch = args[3]
  if epoch == '0' then
    epoch = redis.call('INCRBY', keys[1], args[4])
  else
    local stored = redis.call('GET', keys[1])
    if not stored then return {0, 'nobody: Redis is empty'} end
    if tonumber(stored) > tonumber(epoch) then return {0, 'a later epoch'} end
    if stored ~= epoch then
      epoch = string.format('%.0f', tonumber(epoch) + tonumber(args[4]))
      redis.call('SET', keys[1], epoch)
    end
  end
  redis.call('SET', keys[2], args[1], 'PX', args[2])
  return {tonumber(epoch), args[1]}
end

-- KEYS: epoch, leader. ARGV: epoch, name.
local function resign(keys, args)
  if redis.call('GET', keys[2]) == args[2] and redis.call('GET', keys[1]) == args[1] then
    redis.call('DEL', keys[2])
  end
  return 1
end

-- KEYS: epoch, jobs, job, request (or the job again, where no request id was given).
-- ARGV: epoch, job id, submitted_ms, variants, spec, has_request. Returns the job's id, old or new.
local function submit(keys, args)
  local stale = check_epoch(keys, args)
  if stale then return stale end
  if args[6] == '1' then
    local earlier = redis.call('GET', keys[4])
    if earlier then return earlier end
    redis.call('SET', keys[4], args[2])
  end
  if redis.call('EXISTS', keys[3]) == 0 then
    redis.call('HSET', keys[3], 'spec', args[5], 'variants', args[4], 'submitted_ms', args[3],
               'started_ms', '0', 'ended_ms', '0', 'committed', '0', 'failed', '0', 'cancelled', '0')
    redis.call('ZADD', keys[2], args[3], args[2])
  end
  return args[2]
end

-- A contest has further entries. KEYS: epoch, job. ARGV: epoch, spec, variants in all. Later calls have more of them;
-- fewer change nothing. An ended job runs again, unless it was cancelled.
local function append(keys, args)
  local stale = check_epoch(keys, args)
  if stale then return stale end
  local job = redis.call('HMGET', keys[2], 'variants', 'cancelled')
  if not job[1] or tonumber(job[1]) >= tonumber(args[3]) or job[2] == '1' then return 0 end
  redis.call('HSET', keys[2], 'spec', args[2], 'variants', args[3], 'ended_ms', '0')
  return 1
end

-- redis.call for the arguments first .. last, however many: Lua unpacks a few thousand at most.
local function call_in_parts(command, key, arguments, first, last)
  for i = first, last, 2000 do
    redis.call(command, key, unpack(arguments, i, math.min(i + 1999, last)))
  end
end

local kWindow = 2048  -- bytes of a bitmap that are read, changed and written back together
local kFormats = {}

-- As numbers of 32 bits; zeros behind the end.
local function words_of(bytes, n)
  bytes = bytes .. string.rep('\0', 4 * n - #bytes)
  if not kFormats[n] then kFormats[n] = '>' .. string.rep('I4', n) end
  return {struct.unpack(kFormats[n], bytes)}
end

-- Sets those bits of `mask`, at most kWindow bytes that begin at byte `from`, that `other` has not. Returns how many
-- are new.
local function set_mask(key, other, from, mask)
  local to, n = from + #mask - 1, math.ceil(#mask / 4)
  local before = redis.call('BITCOUNT', key, from, to)
  local bits, wanted = words_of(redis.call('GETRANGE', key, from, to), n), words_of(mask, n)
  local taken = other and words_of(redis.call('GETRANGE', other, from, to), n)
  for i = 1, n do
    local free = wanted[i]
    if taken then free = bit.band(free, bit.bnot(taken[i])) end
    bits[i] = bit.bor(bits[i], free)
  end
  redis.call('SETRANGE', key, from, string.sub(struct.pack(kFormats[n], unpack(bits, 1, n)), 1, #mask))
  return redis.call('BITCOUNT', key, from, to) - before
end

-- Sets whole bytes from .. to, likewise.
local function set_bytes(key, other, from, to)
  if other and redis.call('BITCOUNT', other, from, to) > 0 then
    local new = 0
    for at = from, to, kWindow do
      new = new + set_mask(key, other, at, string.rep('\255', math.min(kWindow, to - at + 1)))
    end
    return new
  end
  local new = 8 * (to - from + 1) - redis.call('BITCOUNT', key, from, to)
  if new > 0 then redis.call('SETRANGE', key, from, string.rep('\255', to - from + 1)) end
  return new
end

-- Sets the bits of the pieces in arguments first .. last, (first byte, last byte, mask) each, where no mask means
-- every bit, of `key`, leaving out what `other` has; returns how many were new.
local function set_bits(key, other, args, first, last)
  if redis.call('EXISTS', other) == 0 then other = nil end
  local new = 0
  for at = first, last, 3 do
    local from = tonumber(args[at])
    if args[at + 2] == '' then
      new = new + set_bytes(key, other, from, tonumber(args[at + 1]))
    else
      new = new + set_mask(key, other, from, args[at + 2])
    end
  end
  return new
end

-- The tokens in arguments first .. last that are no live lease of the job, 1000 of them at most.
local function stale_tokens(leases, job, args, first, last)
  local stale, prefix = {}, job .. ' '
  for i = first, last, 2000 do
    for k, record in ipairs(redis.call('HMGET', leases, unpack(args, i, math.min(i + 1999, last)))) do
      local live = record and string.sub(record, 1, #prefix) == prefix
      if not live and #stale < 1000 then stale[#stale + 1] = args[i + k - 1] end
    end
  end
  return stale
end

-- Outcomes of a job: the pieces that are committed, in arguments first .. pieces, and failures, in pieces + 1 .. last:
-- index, final, attempts, reason. `job`: its variants, committed, failed, ended_ms. Returns {committed, failed} in all.
local function commit(keys, job, args, first, pieces, last)
  local committed, failed = set_bits(keys[5], keys[6], args, first, pieces), 0
  for f = pieces + 1, last, 4 do
    if redis.call('GETBIT', keys[5], args[f]) == 0 then
      redis.call('HSET', keys[8], args[f], args[f + 2])
      if args[f + 1] == '1' and redis.call('SETBIT', keys[6], args[f], 1) == 0 then
        failed = failed + 1
        redis.call('HSET', keys[7], args[f], args[f + 3])
      end
    end
  end
  local all_committed, all_failed = job[2] + committed, job[3] + failed
  redis.call('HSET', keys[4], 'committed', all_committed, 'failed', all_failed, 'stored_bytes', args[4])
  if all_committed + all_failed >= tonumber(job[1]) and job[4] == '0' then
    redis.call('HSET', keys[4], 'ended_ms', args[2])
  end
  return {all_committed, all_failed}
end

-- New leases in arguments first .. last: token, record, in the order of the grants. Redis keeps a small hash as a
-- list, and walks through it for every field; one value over 64 bytes makes it a table for as long as the key is there:
-- the first record ends in spaces.
local function grant(keys, started_ms, args, first, last)
  if redis.call('EXISTS', keys[2]) == 0 then args[first + 1] = args[first + 1] .. string.rep(' ', 65) end
  call_in_parts('HSET', keys[2], args, first, last)
  if tonumber(args[5]) > tonumber(redis.call('GET', keys[3]) or '0') then redis.call('SET', keys[3], args[5]) end
  if started_ms == '0' then redis.call('HSET', keys[4], 'started_ms', args[2]) end
end

-- What a round made of a job: outcomes, new leases; and leases that ended, of any job.
-- KEYS: epoch, leases, last token, job, done bitmap, failed bitmap, failures, attempts.
-- ARGV: epoch, now_ms, job id, bytes of all its outputs, the greatest token granted; how many arguments there are of
-- each kind: tokens of outcomes, pieces that they commit, failures, new leases; then these, and last of all the tokens
-- of ended leases. Where a token of an outcome is no live lease of this job, outcomes change nothing.
-- Returns {the job's committed and failed in all, such tokens...}: totals, so that a group sent twice tells the truth
-- both times.
local function turns(keys, args)
  local stale = check_epoch(keys, args)
  if stale then return stale end
  local job = redis.call('HMGET', keys[4], 'variants', 'committed', 'failed', 'ended_ms', 'started_ms')
  local tokens = 9 + args[6]
  local pieces = tokens + args[7]
  local failures = pieces + args[8]
  local leases = failures + args[9]
  local totals = {0, 0}  -- also of a job that a server lost with its last second: its leases as well
  if job[1] then
    local refused = stale_tokens(keys[2], args[3], args, 10, tokens)
    if #refused > 0 then
      totals = {tonumber(job[2]), tonumber(job[3]), unpack(refused)}
    elseif tokens > 9 then
      totals = commit(keys, job, args, tokens + 1, pieces, failures)
    end
  end
  if leases > failures then grant(keys, job[5], args, failures + 1, leases) end
  call_in_parts('HDEL', keys[2], args, leases + 1, #args)
  return totals
end

-- KEYS: epoch, job. ARGV: epoch, now_ms. A job that has ended stays as it is.
local function cancel(keys, args)
  local stale = check_epoch(keys, args)
  if stale then return stale end
  if redis.call('HGET', keys[2], 'ended_ms') == '0' then
    redis.call('HSET', keys[2], 'cancelled', '1', 'ended_ms', args[2])
  end
  return 1
end

-- KEYS: epoch, job. ARGV: epoch, field ('paused', 'priority' or 'render_class'), value.
local function set(keys, args)
  local stale = check_epoch(keys, args)
  if stale then return stale end
  if redis.call('EXISTS', keys[2]) == 1 then redis.call('HSET', keys[2], args[2], args[3]) end
  return 1
end

-- Failed variants wait again. KEYS: epoch, job, failed bitmap, failures, attempts. ARGV: epoch. A cancelled job stays
-- cancelled. Doing it twice changes nothing more.
local function retry(keys, args)
  local stale = check_epoch(keys, args)
  if stale then return stale end
  if redis.call('HGET', keys[2], 'cancelled') ~= '0' or redis.call('HGET', keys[2], 'failed') == '0' then return 0 end
  redis.call('DEL', keys[3], keys[4], keys[5])
  redis.call('HSET', keys[2], 'failed', '0', 'ended_ms', '0')
  return 1
end

-- KEYS: epoch, tokens. ARGV: epoch, token id, record. The leader has the truth: what is there is written over.
local function put_token(keys, args)
  local stale = check_epoch(keys, args)
  if stale then return stale end
  redis.call('HSET', keys[2], args[2], args[3])
  return 1
end

redis.register_function('ts_lead', lead)
redis.register_function('ts_resign', resign)
redis.register_function('ts_submit', submit)
redis.register_function('ts_append', append)
redis.register_function('ts_turns', turns)
redis.register_function('ts_cancel', cancel)
redis.register_function('ts_set', set)
redis.register_function('ts_retry', retry)
redis.register_function('ts_put_token', put_token)
