#!/usr/bin/env bash
# The release build of the programs, as a server runs them; further arguments go to cargo (`--bin NAME` for more of the
# workspace's). All members are selected, so that dependencies have the same features whatever is built of them.
# The node allocates with jemalloc where there is make, which builds it; else with the C library, which takes more CPU a
# message (figures: tests/README.md).
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
features=()
if make --version >/dev/null 2>&1; then features=(--features relay-node/jemalloc); fi
exec "${CARGO:-cargo}" build --release --workspace --bin relay-node --bin relay-cli "${features[@]}" --manifest-path "$top/Cargo.toml" "$@"
