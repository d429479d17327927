#!/usr/bin/env bash
# Records what a scheduler of schema 1 left behind, for tests/upgrade_test.cc: a farm of an earlier build, killed in the
# middle of its work.
#
#   tests/goldens/record_schema_1.sh BIN tests/goldens/redis_schema_1.tar.gz
#
# BIN: the programs of a build before Redis had a ts:schema (redis_schema_1.tar.gz is of f797099's). The archive holds
# blobs/, and appendonly.aof in plain commands, which Redis 6 and 7 both read.
set -euo pipefail
bin=$(realpath "$1") out=$(realpath "$2") dir=$(mktemp -d)
cd "$dir"
mkdir redis
sock=$dir/redis.sock farm=unix:$dir/farm.sock
redis() { redis-cli -s "$sock" "$@"; }
farm() { "$bin/tiltshift" "$@" --scheduler "$farm"; }
submit() { farm submit "$1" | tee -a log | cut -d: -f1; }
campaign() { printf 'name: %s\nmodel: any\nprompt: "%s {n}"\naxes: {n: {range: 1-%s}}\noutput: {name: "{n}"}\n' "$1" "$1" "$2" >"$1.yaml"; }
count() { redis HGET "ts:job:$1" "$2"; }
until_is() { for _ in $(seq 200); do [ "$(count "$1" "$2")" != "$3" ] || return 0; sleep 0.1; done; echo "$1: $2 is $(count "$1" "$2")" >&2; exit 1; }

# Vetoes what a job calls wrong, and answers nothing about what it calls endless: so each stays where it is.
cat >moderate <<'END'
case $TILTSHIFT_REVIEW in output) exit 0 ;; esac
case $(cat) in
  *"wrong 2" | *"begun 7") echo "it would not"; exit 1 ;;
  *"begun 21" | *"endless wish") while kill -0 $PPID; do sleep 0.2; done 2>/dev/null ;;
esac
END
redis-server --port 0 --unixsocket "$sock" --dir redis --appendonly yes --save "" --aof-use-rdb-preamble no >log.redis &
processes=$!
until redis PING >/dev/null 2>&1; do sleep 0.1; done
"$bin/tiltshift-scheduler" --listen "$farm" --redis "unix:$sock" --blobs blobs --lease-ttl-ms 600000 >log.scheduler &
processes="$processes $!"
until farm list >/dev/null 2>&1; do sleep 0.1; done
"$bin/tiltshift-worker" --scheduler "$farm" --blobs blobs --render noop --slots 3 --name earlier --keep-free 0 \
  --moderate "command:exec sh $dir/moderate" --moderate-timeout-ms 600000 >log.worker &
processes="$processes $!"

campaign done 4
farm watch "$(submit done.yaml)"
campaign wrong 3
wrong=$(submit wrong.yaml)
farm watch "$wrong" || true
campaign begun 40
begun=$(submit begun.yaml)
until_is "$begun" committed 38
printf 'id,author,prompt\na,ann,a robot\nb,bob,a cat\nc,cat,endless wish\n' >wishes.csv
printf 'd,dan,a dog\n' | cat <(head -1 wishes.csv) - >late.csv
printf 'kind: contest\nname: contest\nmodel: any\nentries: wishes.csv\naxes: {seed: {range: 1-2}}\n' >contest.yaml
contest=$(submit contest.yaml)
until_is "$contest" committed 4
# All three slots are taken from here on: nothing else is begun.
farm append "$contest" late.csv
campaign paused 10
paused=$(submit paused.yaml)
farm pause "$paused"
farm priority "$paused" --to 50
campaign cancelled 10
farm cancel "$(submit cancelled.yaml)"
campaign waiting 20
submit waiting.yaml

# shellcheck disable=SC2086
kill -9 ${processes#* }
redis DEL ts:leader
redis FUNCTION FLUSH || true
redis BGREWRITEAOF
until redis INFO persistence | grep -q aof_rewrite_in_progress:0; do sleep 0.1; done
sleep 1
redis INFO persistence | grep -q aof_last_bgrewrite_status:ok
kill "${processes%% *}"
wait || true
cat redis/appendonlydir/*.base.aof >appendonly.aof
find blobs -name '*.tmp*' -delete
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=2026-01-01 -cf - appendonly.aof blobs | gzip -9n >"$out"
rm -rf "$dir"
