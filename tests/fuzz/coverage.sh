#!/usr/bin/env bash
# Which lines of the parsers the committed corpus reaches: the same test as in every run, instrumented. Called by run.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tools=target/fuzz-tools out=target/fuzz/coverage
llvm=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
grep -q "==$llvm\." tests/fuzz/requirements.txt || { echo "not measured: rustc has LLVM $llvm, see requirements.txt"; exit 1; }
[ -x "$tools/bin/python" ] || python3 -m venv "$tools"
"$tools/bin/python" -m pip install --quiet --disable-pip-version-check --requirement tests/fuzz/requirements.txt
bin=$(echo "$tools"/lib/python*/site-packages/llvm/bin)
rm -rf "$out" && mkdir -p "$out"
export RUSTC_WORKSPACE_WRAPPER=$PWD/tests/fuzz/instrument.sh LLVM_PROFILE_FILE=$PWD/$out/%p-%m.profraw
cargo test --quiet -p relay-tests --test corpus -- the_corpus_is_parsed
test=$(cargo test --quiet -p relay-tests --test corpus --no-run --message-format=json | sed -n 's/.*"executable":"\([^"]*corpus[^"]*\)".*/\1/p')
"$bin/llvm-profdata" merge --sparse "$out"/*.profraw -o "$out/all.profdata"
# The parsers: what reads outside bytes. Their neighbours (signing, writing, the verifiers' printing) do not count.
mapfile -t parsers < <(grep -v '^#' tests/fuzz/parsers.txt)
"$bin/llvm-cov" export -summary-only -instr-profile "$out/all.profdata" "$test" "${parsers[@]}" >"$out/summary.json"
python3 - "$out/summary.json" <<'PY'
import json, os, sys
data = json.load(open(sys.argv[1]))["data"][0]
for file in sorted(data["files"], key=lambda one: one["summary"]["lines"]["percent"]):
    lines = file["summary"]["lines"]
    print(f'{lines["percent"]:6.1f} %  {lines["covered"]:5} of {lines["count"]:5}  {os.path.relpath(file["filename"])}')
lines = data["totals"]["lines"]
print(f'{lines["percent"]:6.1f} %  {lines["covered"]:5} of {lines["count"]:5}  all')
PY
