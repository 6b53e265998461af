#!/usr/bin/env bash
# The one list of Debian packages that snlpc needs. With a word (build, test, fuzz) only that part.
#
#   tools/packages.sh           installs what is missing: through apt-get when it may, else it says how
#   tools/packages.sh --list    prints the list
set -u

build="gcc cmake ninja-build pkg-config libc6-dev llvm-19 llvm-19-dev lld-19 libjansson-dev libpcre2-dev libutf8proc-dev libxxhash-dev libffi-dev"
tests="libcmocka-dev llvm-19-tools python3 python3-numpy file binutils qemu-user"
sanitizers="clang-19 libclang-rt-19-dev"
all="$build $tests $sanitizers"

if [ "${1:-}" = --list ]; then
    printf '%s\n' $all
    exit 0
fi

installed() {
    [ "$(dpkg-query -W -f '${Status}' "$1" 2>/dev/null)" = "install ok installed" ]
}

if ! command -v dpkg-query >/dev/null; then
    echo "packages: no dpkg here; on Debian 12 these packages are needed: $all" >&2
    exit 0
fi
missing=""
for package in $all; do
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
