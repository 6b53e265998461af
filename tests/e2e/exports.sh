#!/bin/sh
# What generated code calls of the runtime, snlpc exports: code that it loads itself takes it from there.
set -eu
names=$(grep -oh '"snlrt_[a-z_]*"' "$SNL_SOURCE"/codegen/*.c | tr -d '"' | sort -u | grep -vx snlrt_model)
exported=$(nm -D --defined-only "$SNLPC" | awk '{print $3}')
count=0
for name in $names; do
    count=$((count + 1))
    echo "$exported" | grep -qx "$name" || { echo "snlpc does not export $name (CMakeLists.txt)"; exit 1; }
done
test "$count" -ge 2 || { echo "found $count names in codegen, wanted snlrt_barrier and more"; exit 1; }
echo "ok $count names"
