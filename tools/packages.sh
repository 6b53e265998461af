#!/usr/bin/env bash
# The one list of Debian packages that snlpc needs. With words (build, test, fuzz) only those parts.
#
#   tools/packages.sh [build] [test] [fuzz]    installs what is missing: through apt-get when it may,
#                                              else it says how
#   tools/packages.sh --list [build] ...       prints the list
set -u

build="gcc cmake ninja-build pkg-config libc6-dev llvm-19 llvm-19-dev lld-19 libjansson-dev libpcre2-dev libutf8proc-dev libxxhash-dev libffi-dev"
tests="libcmocka-dev llvm-19-tools python3 python3-numpy file binutils qemu-user"
fuzz="clang-19 libclang-rt-19-dev" # the sanitizers of the tests too

list=""
[ "${1:-}" = --list ] && list=yes && shift
[ $# -gt 0 ] || set -- build test fuzz
wanted=""
for word in "$@"; do
    case $word in
    build) wanted="$wanted $build" ;;
    test) wanted="$wanted $tests" ;;
    fuzz) wanted="$wanted $fuzz" ;;
    *)
        echo "packages: found '$word', wanted build, test or fuzz (--list first prints them)" >&2
        exit 2
        ;;
    esac
done

if [ -n "$list" ]; then
    printf '%s\n' $wanted
    exit 0
fi

installed() {
    [ "$(dpkg-query -W -f '${Status}' "$1" 2>/dev/null)" = "install ok installed" ]
}

if ! command -v dpkg-query >/dev/null; then
    echo "packages: no dpkg here; on Debian 12 these packages are needed:$wanted" >&2
    exit 0
fi
missing=""
for package in $wanted; do
    installed "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
    become=""
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    become="sudo"
else
    echo "packages: missing:$missing" >&2
    echo "packages: install them with: sudo apt-get install$missing" >&2
    exit 4
fi
echo "packages: installing$missing" >&2
export DEBIAN_FRONTEND=noninteractive
$become apt-get install -y --no-install-recommends $missing >&2 && exit 0
# The package lists may be old or absent.
$become apt-get update >&2 && $become apt-get install -y --no-install-recommends $missing >&2 && exit 0
echo "packages: apt-get failed; snlpc is built on Debian 12 (bookworm), whose main archive has all of these" >&2
exit 4
