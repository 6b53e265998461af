#!/usr/bin/env bash
# Set-up and build in build/ of the repository (or the folder in SNL_BUILD_DIR); quiet unless it fails.
#   tools/build.sh [TARGET] [-DOPTION=VALUE ...]      TARGET: all (default), snlpc, ...
set -eu
target=all
case ${1:-} in "" | -*) ;; *) target=$1 && shift ;; esac
root=$(cd "$(dirname "$0")/.." && pwd)
build=${SNL_BUILD_DIR:-$root/build}
# The compiler alone needs none of the tests' packages; CMake would ask for them.
tests="test" without_tests=""
if [ "$target" = snlpc ]; then
    tests=""
    [ -f "$build/CMakeCache.txt" ] || without_tests="-DSNL_TESTS=OFF"
fi
"$root/tools/packages.sh" build $tests
mkdir -p "$build"
log=$build/build.log
launcher=""
command -v ccache >/dev/null && launcher="-DCMAKE_C_COMPILER_LAUNCHER=ccache"
echo "building in $build" >&2
generator=""
[ -f "$build/CMakeCache.txt" ] || generator="-G Ninja" # a folder keeps the generator it has
if ! { cmake $generator -S "$root" -B "$build" $launcher $without_tests "$@" &&
       cmake --build "$build" --target "$target" -j "$(nproc)"; } >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    echo "the build failed; everything it said is in $log" >&2
    exit 1
fi
