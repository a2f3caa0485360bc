#!/usr/bin/env bash
# Fuzzes the parsers of outside bytes with libFuzzer, two targets at a time.
#   tests/fuzz/run.sh MINUTES [TARGET]…    default: all targets
#   tests/fuzz/run.sh coverage             lines of the parsers that the corpus reaches
#   tests/fuzz/run.sh minimise             what the runs found, the least of it, into the committed corpus
# A crash makes it fail and leaves its input in target/fuzz/crashes. The working corpus is in target/fuzz/corpus,
# begun from the committed one. Needs a C++ compiler, for libFuzzer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
committed=tests/fuzz/corpus work=target/fuzz/corpus crashes=target/fuzz/crashes logs=target/fuzz/logs
host=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_TARGET_DIR=target/fuzz
mapfile -t all < <(sed -n 's/^ *target("\([a-z]*\)",.*/\1/p' tests/fuzz/targets/mod.rs)

# Instrumentation as cargo-fuzz asks for, without a sanitizer: no crate of ours has unsafe code. Only with --target
# are build scripts left out of it.
flags="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
build() { RUSTFLAGS="$flags" cargo build --quiet --locked --release --target "$host" --manifest-path tests/fuzz/Cargo.toml; }
program=target/fuzz/$host/release/relay-fuzz

bytes_max() { echo $(($(sed -n "s/^ *target(\"$1\", \(.*\), .*/\1/p" tests/fuzz/targets/mod.rs))); }

# One target; prints a row. LibFuzzer's last line has what it covered.
one() {
  local name=$1 seconds=$2 log=$logs/$1.log status=0
  mkdir -p "$work/$name" "$crashes/$name"
  cp -n "$committed/$name"/* "$work/$name" 2>/dev/null || true
  RELAY_FUZZ_TARGET=$name "$program" -max_total_time="$seconds" -max_len="$(bytes_max "$name")" -timeout=10 -rss_limit_mb=1024 \
    -print_final_stats=1 -reload=0 -artifact_prefix="$crashes/$name/" "$work/$name" >"$log" 2>&1 || status=$?
  local runs edges found
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  edges=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1 | cut -d' ' -f2)
  found=$(find "$crashes/$name" -type f | wc -l)
  printf '%-12s %12s %9s %7s %7s %7s\n' "$name" "${runs:-0}" "$((${runs:-0} / (seconds > 0 ? seconds : 1)))" "${edges:-0}" \
    "$(find "$work/$name" -type f | wc -l)" "$found"
  [ "$status" = 0 ] && [ "$found" = 0 ]
}

fuzz() {
  local seconds=$(($1 * 60)) name failed=0; shift
  [ $# -gt 0 ] || set -- "${all[@]}"
  build
  mkdir -p "$logs"
  printf '%-12s %12s %9s %7s %7s %7s\n' target executions per-s edges corpus crashes
  while [ $# -gt 0 ]; do
    local pids=()
    for name in "${@:1:2}"; do one "$name" "$seconds" & pids+=($!); done
    for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
    shift $(($# < 2 ? $# : 2))
  done
  [ "$failed" = 0 ] || { echo "crashes: see $crashes and $logs" >&2; return 1; }
}

# The smallest inputs that together reach what the working corpus reaches; at most 160 a target, the shortest.
minimise() {
  build
  local name
  for name in "${all[@]}"; do
    local least=target/fuzz/least/$name
    rm -rf "$least" && mkdir -p "$least" "$committed/$name"
    RELAY_FUZZ_TARGET=$name "$program" -set_cover_merge=1 "$least" "$committed/$name" "$work/$name" >/dev/null 2>&1
    find "$committed/$name" -type f ! -name 'seed-*' -delete
    find "$least" -type f -size -5k -printf '%s %p\n' | sort -n | sed -n 1,160p | cut -d' ' -f2 | while read -r file; do
      cmp -s "$file" "$committed/$name/$(basename "$file")" || cp "$file" "$committed/$name/"
    done
  done
}

case ${1:?usage: $0 MINUTES [TARGET]… | coverage | minimise} in
  minimise) minimise ;;
  coverage) exec tests/fuzz/coverage.sh ;;
  *) fuzz "$@" ;;
esac
