#!/bin/sh
# The release build. It is reproducible: the same sources, toolchain and C compiler give the same
# bytes in any directory and for any user. Stable rustc offers only --remap-path-prefix for that.
set -eu
cd "$(dirname "$0")/.."

here=$(pwd -P)
cargo_home=${CARGO_HOME:-$HOME/.cargo}
target=${CARGO_TARGET_DIR:-$here/target}
# If the standard library's sources are installed, rustc uses their paths instead of its own.
std=$(rustc --print sysroot)/lib/rustlib/src/rust
commit=$(rustc -vV | sed -n 's/^commit-hash: //p')

# Encoded, because directory names may contain spaces. The last matching prefix wins.
CARGO_ENCODED_RUSTFLAGS=$(printf -- '--remap-path-prefix=%s\037' \
    "$here=/purgefront" "$target=/purgefront/target" "$cargo_home=/cargo" "$std=/rustc/$commit")
CARGO_ENCODED_RUSTFLAGS=${CARGO_ENCODED_RUSTFLAGS%?}
# SQLite and aws-lc are written in C, and embed file names too.
CFLAGS="-ffile-prefix-map=$target=/purgefront/target -ffile-prefix-map=$cargo_home=/cargo"
export CARGO_ENCODED_RUSTFLAGS CFLAGS
exec cargo build --release --locked --bin purgefront
