#!/usr/bin/env bash
# The release build of all programs, as a server runs them; further arguments go to cargo.
# The node allocates with jemalloc where there is make, which builds it; else with the C library, which takes more CPU a
# message (figures: tests/README.md).
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
features=()
if make --version >/dev/null 2>&1; then features=(--features relay-node/jemalloc); fi
exec "${CARGO:-cargo}" build --release --workspace --bins "${features[@]}" --manifest-path "$top/Cargo.toml" "$@"
