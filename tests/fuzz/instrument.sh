#!/usr/bin/env bash
# Stands before rustc for the crates of this workspace, so that coverage.sh counts their lines and no others.
exec "$@" -Cinstrument-coverage -Cllvm-args=--enable-name-compression=false
