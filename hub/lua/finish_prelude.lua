-- Ends the job of a claim; what `finish` returns.
local function finish(id, token, status, value, traceback)
  local job = load_job(id)
  local refused = refusal(job, token, 'finish')
  if refused then
    return {refused, job.status or ''}
  end
  if status == 'cancelled' and job.status ~= 'cancelling' then
    return {'refused', job.status}
  end
  withdraw(job)
  local changes = unlease(job, 'finish', {})
  changes.worker = nil -- who ran it stays known
  if status == 'completed' then
    changes.result = value ~= '' and value or 'null'
  elseif status == 'failed' then
    changes.error = value
    if traceback ~= '' then
      changes.traceback = traceback
    end
  end
  move(job, status, changes)
  return {'ok', status}
end
