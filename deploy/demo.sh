#!/usr/bin/env bash
# A federation of three national units on this machine: real nodes, real QUIC, real stores, throw-away keys.
#   ./deploy/demo.sh [--dir DIR] [--keep]
# Exit status 0 only if everything held. It uses free ports, needs no root, and cleans up after itself;
# --keep leaves the federation running and prints what to try next.
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
dir= keep=no
while [ $# -gt 0 ]; do
  case $1 in
    --dir) dir=${2:?--dir needs a directory}; shift 2 ;;
    --keep) keep=yes; shift ;;
    *) echo "usage: $0 [--dir DIR] [--keep]" >&2; exit 2 ;;
  esac
done

made_dir=no
if [ -z "$dir" ]; then dir=$(mktemp -d "${TMPDIR:-/tmp}/relay-demo.XXXXXX"); made_dir=yes; fi
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
# What relay-cli notes of what it showed stays in there.
export XDG_STATE_HOME=$dir/state
# For what content is read; each node writes it down.
export RELAY_PURPOSE=demonstration
for unit in xa.cyber-poc xb.ncu xc.cyber-poc; do
  [ ! -e "$dir/$unit" ] || { echo "$dir/$unit is there already: choose another --dir" >&2; exit 2; }
done

declare -A pid=()
stop_all() {
  for unit in "${!pid[@]}"; do kill -TERM "${pid[$unit]}" 2>/dev/null || true; done
  for unit in "${!pid[@]}"; do wait "${pid[$unit]}" 2>/dev/null || true; done
  pid=()
}
on_exit() {
  status=$?
  trap - EXIT INT TERM
  if [ "$keep" = yes ] && [ "$status" = 0 ]; then exit 0; fi
  stop_all
  if [ "$status" != 0 ] && [ "$status" != 130 ]; then
    echo "FAILED (status $status). Last lines of the nodes' logs:" >&2
    for unit in xa.cyber-poc xb.ncu xc.cyber-poc; do
      [ ! -s "$dir/$unit.log" ] || { echo "--- $unit" >&2; tail -n 5 "$dir/$unit.log" >&2; }
    done
    echo "files kept in $dir" >&2
  elif [ "$made_dir" = yes ]; then
    rm -rf "$dir"
  fi
  exit "$status"
}
trap on_exit EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] && [ -z "${NO_COLOR:-}" ] || say() { printf '\n== %s\n' "$*"; }
# Shows a command as somebody would type it, then runs it.
run() {
  local shown= word
  for word in "$@"; do
    case $word in *" "*) shown+="\"$word\" " ;; *) shown+="$word " ;; esac
  done
  shown=${shown% }
  shown=${shown//$bin\//}; shown=${shown//$dir\//}; shown=${shown//$top\//}
  printf '$ %s\n' "$shown"
  "$@"
}
# Runs a command that must end with the given status.
run_status() {
  local want=$1 got=0; shift
  run "$@" || got=$?
  [ "$got" = "$want" ] || { echo "expected exit status $want, got $got" >&2; return 1; }
}
cli() { local unit=$1; shift; "$bin/relay-cli" --node "$dir/$unit/api.sock" "$@"; }
# Waits for a condition, not for a time.
until_true() {
  local what=$1 tries=0; shift
  until "$@" >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 200 ] || { echo "not in time: $what" >&2; return 1; }
    sleep 0.05
  done
}
json() { sed -n "s/.*\"$1\": *\"\\([^\"]*\\)\".*/\\1/p" | head -n 1; }

say "Building (release)"
"$top/deploy/build.sh" --quiet --bin burst --bin free-port
bin=${CARGO_TARGET_DIR:-$top/target}/release
started=$(date +%s)

# Whether a node answers: also when it says that a peer is down.
answers() { cli "$1" --quiet peer list || [ $? = 1 ]; }
start_node() {
  local unit=$1
  "$bin/relay-node" run --config "$dir/$unit/relay.toml" 2>>"$dir/$unit.log" &
  pid[$unit]=$!
  until_true "node $unit is up" answers "$unit" || {
    tail -n 5 "$dir/$unit.log" >&2; return 1; }
}

say "Three units make their nodes and cards"
declare -A phone=([xa.cyber-poc]=+1-202-555-0143 [xb.ncu]=+1-202-555-0171 [xc.cyber-poc]=+1-202-555-0188)
declare -A name=([xa.cyber-poc]="Cybercrime Unit XA" [xb.ncu]="National Cyber Unit XB" [xc.cyber-poc]="Cybercrime Unit XC")
for unit in xa.cyber-poc xb.ncu xc.cyber-poc; do
  port=$("$bin/free-port")
  run "$bin/relay-node" init --unit "$unit" --dir "$dir/$unit" --name "${name[$unit]}" \
    --phone "${phone[$unit]}" --email "poc@$unit.example.org" --listen "127.0.0.1:$port" \
    --advertise "127.0.0.1:$port" --clock assumed | sed -n '1p'
  # Small files: this disk is yours, and the demonstration is short.
  printf '\n[store]\nsegment_bytes = "4MiB"\nreserve_percent = 0\nreserve_bytes_min = "16MiB"\n' \
    >>"$dir/$unit/relay.toml"
  run "$bin/relay-node" config check --quiet "$dir/$unit/relay.toml" || [ $? = 0 ]
done
for unit in xa.cyber-poc xb.ncu xc.cyber-poc; do start_node "$unit"; done
echo "nodes up: xa.cyber-poc ${pid[xa.cyber-poc]}, xb.ncu ${pid[xb.ncu]}, xc.cyber-poc ${pid[xc.cyber-poc]}"

say "They add each other's cards; nothing is exchanged before the telephone call"
for unit in xa.cyber-poc xb.ncu xc.cyber-poc; do
  for other in xa.cyber-poc xb.ncu xc.cyber-poc; do
    [ "$unit" = "$other" ] || cli "$unit" --quiet peer add "$dir/$other/$other.relaycard" >/dev/null
  done
done
run_status 17 "$bin/relay-cli" --node "$dir/xa.cyber-poc/api.sock" send alert --file "$top/config/demo/alert.json"
for unit in xa.cyber-poc xb.ncu xc.cyber-poc; do
  for other in xa.cyber-poc xb.ncu xc.cyber-poc; do
    [ "$unit" != "$other" ] || continue
    # A person reads six groups and types six; a script that has the digits by a safe way gives all sixty.
    digits=$(cli "$other" --json peer verify "$unit" --read | json fingerprint)
    cli "$unit" --quiet peer verify "$other" --by "demo script" --fingerprint "$digits" >/dev/null
  done
done
run "$bin/relay-cli" --node "$dir/xa.cyber-poc/api.sock" peer list || true

say "An alert to two units, a preservation request to one"
run "$bin/relay-cli" --node "$dir/xa.cyber-poc/api.sock" send alert \
  --file "$top/config/demo/alert.json" --wait delivered --timeout 20s | tee "$dir/alert.out"
run "$bin/relay-cli" --node "$dir/xa.cyber-poc/api.sock" send preservation \
  --file "$top/config/demo/preservation.json" --wait delivered --timeout 20s | tee "$dir/request.out"
short='[0-9A-HJKMNP-TV-Z]\{4\}-[0-9A-HJKMNP-TV-Z]\{4\}'
request=$(grep -o "$short" "$dir/request.out" | head -n 1)
alert=$(grep -o "$short" "$dir/alert.out" | head -n 1)

say "The other side sees it and takes it"
run "$bin/relay-cli" --node "$dir/xb.ncu/api.sock" inbox || true
run "$bin/relay-cli" --node "$dir/xb.ncu/api.sock" ack "$request" --by "Det. Sgt. Arun Pillai"
acknowledged() { cli xa.cyber-poc receipts "$request" | grep -q ConsignmentAcceptance; }
until_true "the acknowledgement's receipt is back" acknowledged

say "The ladder of receipts, as the sender holds it"
run "$bin/relay-cli" --node "$dir/xa.cyber-poc/api.sock" receipts "$request"

say "Evidence: exported, then verified on a machine that knows no node"
court=$dir/court
run "$bin/relay-cli" --node "$dir/xa.cyber-poc/api.sock" evidence export "$request" --to "$court"
bundle=$court/$request.relayev
trust=("$dir/xa.cyber-poc/xa.cyber-poc.relaycard" "$dir/xb.ncu/xb.ncu.relaycard")
run_status 0 "$bin/relay-cli" evidence verify "$bundle" --trust "${trust[@]}"
say "Without an anchor that the verifier trusts already, it is consistent, not valid"
run_status 1 "$bin/relay-cli" --quiet evidence verify "$bundle"
say "Whatever is changed, it is INVALID, and the reason is named"
cli xa.cyber-poc --quiet evidence export "$alert" --to "$dir/other" >/dev/null
forge() { "$bin/burst" forge --bundle "$bundle" --other "$dir/other/$alert.relayev" --what "$1" --out "$dir/forged.relayev"; }
for what in header statement inclusion checkpoint other-keys other-proof; do
  forge "$what"
  echo "-- forged: $what"
  run_status 14 "$bin/relay-cli" --quiet evidence verify "$dir/forged.relayev" --trust "${trust[@]}"
done

say "The request is a case: what is not legal now is refused, and told why"
says() { local unit=$1; shift; run "$bin/relay-cli" --node "$dir/$unit/api.sock" --quiet "$@" --wait delivered --timeout 20s; }
run_status 15 "$bin/relay-cli" --node "$dir/xb.ncu/api.sock" respond "$request" --confirm --preserved-until 90d --reference XB-77

say "From the desk's acknowledgement to mutual assistance, as each side says it"
says xb.ncu respond "$request" --taken --reference XB-77 --desk "night desk, A. Pillai" --next-update 6h
says xb.ncu respond "$request" --decision accept
says xb.ncu respond "$request" --confirm --preserved-until 90d
run "$bin/relay-cli" --node "$dir/xa.cyber-poc/api.sock" deadlines
says xa.cyber-poc mla "$request" --reference XA-MOJ-92 --status sent --authority "Ministry of Justice XB"
# An answer rests on what was read: what the other side said since is looked at first.
"$bin/relay-cli" --node "$dir/xb.ncu/api.sock" case show "$request" >/dev/null
says xb.ncu respond "$request" --mla-received XB-MOJ-5521
run "$bin/relay-cli" --node "$dir/xa.cyber-poc/api.sock" case show "$request"
etag() { cli "$1" --json case show "$request" | json etag; }
[ "$(etag xa.cyber-poc)" = "$(etag xb.ncu)" ] || { echo "the two sides hold different cases" >&2; exit 1; }
echo "both sides hold the same case"

restart_after_death() {
  local unit=$1
  wait "${pid[$unit]}" 2>/dev/null || true
  sleep 2 # the outage is part of the story
  start_node "$unit"
  echo "  $unit restarted"
}
burst() {
  local victim=$1
  "$bin/burst" run --sender "$dir/xa.cyber-poc/api.sock" --recipient "$dir/xb.ncu/api.sock" --to xb.ncu \
    --file "$top/config/demo/alert.json" --count 200 --kill-at 60 --kill-pid "${pid[$victim]}" \
    --trust "${trust[@]}" &
  local client=$!
  restart_after_death "$victim"
  wait "$client"
}
say "A burst of 200; the recipient is killed on the way"
burst xb.ncu
say "A burst of 200; the sender is killed on the way, its client repeats by request id"
burst xa.cyber-poc

say "Where everything stands"
run "$bin/relay-cli" --node "$dir/xa.cyber-poc/api.sock" outbox || true
took=$(($(date +%s) - started))
if [ "$keep" = yes ]; then
  say "Everything held ($took s). The federation keeps running:"
  cat <<MSG
  export RELAY_NODE=$dir/xa.cyber-poc/api.sock
  $bin/relay-cli status
  $bin/relay-cli show $request
  $bin/relay-cli watch
  stop it:  kill ${pid[xa.cyber-poc]} ${pid[xb.ncu]} ${pid[xc.cyber-poc]}; rm -rf $dir
MSG
  disown -a
else
  say "Everything held ($took s)."
fi
