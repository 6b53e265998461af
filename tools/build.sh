#!/usr/bin/env bash
# Set-up and build in build/ of the repository (or the folder in SNL_BUILD_DIR); quiet unless it fails.
#   tools/build.sh [TARGET] [-DOPTION=VALUE ...]      TARGET: all (default), snlpc, ...
set -eu
target=all
case ${1:-} in "" | -*) ;; *) target=$1 && shift ;; esac
root=$(cd "$(dirname "$0")/.." && pwd)
build=${SNL_BUILD_DIR:-$root/build}
"$root/tools/packages.sh"
mkdir -p "$build"
log=$build/build.log
launcher=""
command -v ccache >/dev/null && launcher="-DCMAKE_C_COMPILER_LAUNCHER=ccache"
echo "building in $build" >&2
generator=""
[ -f "$build/CMakeCache.txt" ] || generator="-G Ninja" # a folder keeps the generator it has
if ! { cmake $generator -S "$root" -B "$build" $launcher "$@" &&
       cmake --build "$build" --target "$target" -j "$(nproc)"; } >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    echo "the build failed; everything it said is in $log" >&2
    exit 1
fi
