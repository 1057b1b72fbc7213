#!/bin/sh
# The release build. The same sources, toolchain and C compiler give the same bytes in whatever
# directory, by whomever: rustc's --remap-path-prefix is all that stable has for it.
set -eu
cd "$(dirname "$0")/.."

here=$(pwd -P)
cargo_home=${CARGO_HOME:-$HOME/.cargo}
target=${CARGO_TARGET_DIR:-$here/target}
# Where the standard library's sources are installed, rustc names them instead of its own.
std=$(rustc --print sysroot)/lib/rustlib/src/rust
commit=$(rustc -vV | sed -n 's/^commit-hash: //p')

# Encoded, because a directory's name may have a space in it. The last that matches counts.
CARGO_ENCODED_RUSTFLAGS=$(printf -- '--remap-path-prefix=%s\037' \
    "$here=/purgefront" "$target=/purgefront/target" "$cargo_home=/cargo" "$std=/rustc/$commit")
CARGO_ENCODED_RUSTFLAGS=${CARGO_ENCODED_RUSTFLAGS%?}
# SQLite and aws-lc are C, and name their files too.
CFLAGS="-ffile-prefix-map=$target=/purgefront/target -ffile-prefix-map=$cargo_home=/cargo"
export CARGO_ENCODED_RUSTFLAGS CFLAGS
exec cargo build --release --locked --bin purgefront
