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

-- KEYS: epoch, leases, last token, job. ARGV: epoch, token, record, now_ms.
local function lease(keys, args)
  local stale = check_epoch(keys, args)
  if stale then return stale end
  redis.call('HSET', keys[2], args[2], args[3])
  if tonumber(args[2]) > tonumber(redis.call('GET', keys[3]) or '0') then
    redis.call('SET', keys[3], args[2])
  end
  if redis.call('HGET', keys[4], 'started_ms') == '0' then
    redis.call('HSET', keys[4], 'started_ms', args[4])
  end
  return 1
end

-- KEYS: epoch, leases. ARGV: epoch, token...
local function release(keys, args)
  local stale = check_epoch(keys, args)
  if stale then return stale end
  for i = 2, #args do redis.call('HDEL', keys[2], args[i]) end
  return 1
end

-- Sets bits first .. first + count - 1 of `key`, leaving out what `other` has; returns how many were new.
local function set_bits(key, other, first, count)
  local new = 0
  local bit, last = first, first + count - 1
  while bit <= last do
    local bytes = math.floor((last + 1 - bit) / 8)
    if bit % 8 == 0 and bytes > 0 and redis.call('BITCOUNT', other, bit / 8, bit / 8 + bytes - 1) == 0 then
      local from = bit / 8
      new = new + bytes * 8 - redis.call('BITCOUNT', key, from, from + bytes - 1)
      redis.call('SETRANGE', key, from, string.rep('\255', bytes))
      bit = bit + bytes * 8
    else
      if redis.call('GETBIT', other, bit) == 0 and redis.call('SETBIT', key, bit, 1) == 0 then
        new = new + 1
      end
      bit = bit + 1
    end
  end
  return new
end

-- KEYS: epoch, leases, job, done bitmap, failed bitmap, failures, attempts.
-- ARGV: epoch, now_ms, job id, then outcomes: token, n, n x (first, count), m, m x (index, final, attempts, reason).
-- An outcome whose token is no live lease of this job changes nothing. Returns {the job's
-- committed and failed in all, stale tokens...}: totals, so that a group sent twice tells the truth both times.
local function commit(keys, args)
  local stale = check_epoch(keys, args)
  if stale then return stale end
  local variants = tonumber(redis.call('HGET', keys[3], 'variants') or nil)
  if not variants then return {0, 0} end -- a server that lost this job's last second: its leases as well
  local committed, failed, refused = 0, 0, {}
  local i = 4
  while i <= #args do
    local token = args[i]
    local record = redis.call('HGET', keys[2], token)
    local live = record and string.match(record, '^(%S+)') == args[3]
    if not live then table.insert(refused, token) end
    local ranges = tonumber(args[i + 1])
    i = i + 2
    for _ = 1, ranges do
      if live then committed = committed + set_bits(keys[4], keys[5], tonumber(args[i]), tonumber(args[i + 1])) end
      i = i + 2
    end
    local failures = tonumber(args[i])
    i = i + 1
    for _ = 1, failures do
      if live and redis.call('GETBIT', keys[4], args[i]) == 0 then
        redis.call('HSET', keys[7], args[i], args[i + 2])
        if args[i + 1] == '1' and redis.call('SETBIT', keys[5], args[i], 1) == 0 then
          failed = failed + 1
          redis.call('HSET', keys[6], args[i], args[i + 3])
        end
      end
      i = i + 4
    end
  end
  local all_committed = redis.call('HINCRBY', keys[3], 'committed', committed)
  local all_failed = redis.call('HINCRBY', keys[3], 'failed', failed)
  if all_committed + all_failed >= variants and redis.call('HGET', keys[3], 'ended_ms') == '0' then
    redis.call('HSET', keys[3], 'ended_ms', args[2])
  end
  local reply = {all_committed, all_failed}
  for _, token in ipairs(refused) do table.insert(reply, token) end
  return reply
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

-- KEYS: epoch, job. ARGV: epoch, field ('paused' or 'priority'), value.
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

redis.register_function('ts_lead', lead)
redis.register_function('ts_resign', resign)
redis.register_function('ts_submit', submit)
redis.register_function('ts_lease', lease)
redis.register_function('ts_release', release)
redis.register_function('ts_commit', commit)
redis.register_function('ts_cancel', cancel)
redis.register_function('ts_set', set)
redis.register_function('ts_retry', retry)
