#!/usr/bin/env bash
# Queues a job and follows it to its end by Server-Sent Events, with nothing but curl.
#
#     JOBCAST_URL=http://127.0.0.1:8080 JOBCAST_API_KEY=$(cat .jobcast/api-key) ./sse.sh report
#     … ./sse.sh count '{"to": 3}'
#
# The stream of one job ends after its last event; asked again after that one, the hub answers 204. What breaks
# on the way is asked for again from the last event on: `id:` is where we are, `Last-Event-ID` says so.
set -euo pipefail

url=${JOBCAST_URL:-http://127.0.0.1:8080}
hub() { curl --silent --header "Authorization: Bearer $JOBCAST_API_KEY" "$@"; }

task=${1:-report} params=${2:-'{}'}
answer=$(hub --fail-with-body --header 'Content-Type: application/json' \
  --data "{\"task\": \"$task\", \"params\": $params, \"session_id\": \"sse:$$\"}" "$url/jobs")
job=$(grep --only-matching --max-count 1 '"job_id":"[^"]*"' <<<"$answer" | cut -d '"' -f 4)

cursor='' status=0
while [[ $status != 204 ]]; do
  while IFS= read -r line; do
    case $line in
      'id: '*) cursor=${line#id: } ;;
      'data: '*) printf '%s\n' "${line#data: }" ;;
      'status: '*) status=${line#status: } ;;
    esac
  done < <(hub --no-buffer ${cursor:+--header "Last-Event-ID: $cursor"} \
    --write-out '\nstatus: %{http_code}\n' "$url/jobs/$job/stream")
  case $status in
    200) ;;                    # it ended, or was cut off
    000 | 5*) sleep 1 ;;       # the hub is away
    4*) exit 1 ;;
  esac
done
