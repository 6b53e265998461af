#!/usr/bin/env bash
# The command line of snlpc: help, bad usage, exit codes, missing files, and outputs that appear whole or
# not at all.
set -u
snlpc=${SNLPC:?}
model=${SNL_SOURCE:?}/examples/tiny-shakespeare-snlp
dir=$(mktemp -d)
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT
cd "$dir" || exit 1
failures=0

fail() {
    echo "FAILED: $*"
    sed 's/^/    /' "$dir/out" "$dir/err" 2>/dev/null | head -n 20
    failures=$((failures + 1))
}

# expect CODE TEXT COMMAND...: exit code, and TEXT somewhere in what it prints.
expect() {
    local code=$1 text=$2
    shift 2
    "$@" >"$dir/out" 2>"$dir/err" </dev/null
    local status=$?
    [ $status = "$code" ] || fail "exit code $status, wanted $code: $*"
    [ -z "$text" ] || grep -qF -- "$text" "$dir/out" "$dir/err" || fail "no '$text' in the output of: $*"
}

# Nothing but what the test itself made lies in the folder of outputs.
expect_empty() {
    [ -z "$(ls -A "$dir/o")" ] || fail "$1 left $(ls -A "$dir/o")"
}
mkdir o

# ---- help and versions
expect 0 "Usage: snlpc COMMAND" "$snlpc" --help
expect 2 "Usage: snlpc COMMAND" "$snlpc"
expect 0 "snlpc 0." "$snlpc" --version
for command in compile inspect tokenize detokenize opt run; do
    grep -q "^  $command " <("$snlpc" --help) || fail "--help does not list $command"
    expect 0 "Usage: snlpc $command" "$snlpc" $command --help
    [ -s "$dir/err" ] && fail "$command --help writes to stderr"
    expect 0 "Usage: snlpc $command" "$snlpc" $command --usage
    expect 2 "--help" "$snlpc" $command
    expect 2 "no-such-option" "$snlpc" $command --no-such-option
done
expect 0 "merge-linear" "$snlpc" opt --list-passes
expect 0 "plan-memory" "$snlpc" opt --print-pipeline

# ---- usage
expect 2 "no command 'comple' (did you mean 'compile'?)" "$snlpc" comple
expect 2 "no command 'xyz'; " "$snlpc" xyz
expect 2 "no output file given" "$snlpc" compile "$model"
expect 2 "-o: found '-', wanted the name of a file" "$snlpc" compile "$model" -o -
expect 2 "-o: found '-', wanted the name of a file" "$snlpc" compile "$model" -o - --emit obj
expect 2 "second MODEL" "$snlpc" compile "$model" "$model" -o o/p
expect 2 "--emit: found 'bin'" "$snlpc" compile "$model" -o o/p --emit bin
expect 2 "--weights: found 'q9'" "$snlpc" compile "$model" -o o/p --weights q9
expect 2 "--weights-head: found 'q9', wanted f32" "$snlpc" compile "$model" -o o/p --weights-head q9
expect 2 "--weights-head: found 'q9', wanted f32" "$snlpc" run none.snl f --weights-head q9
expect 2 "found a second --weights" "$snlpc" compile "$model" -o o/p --weights f32 --weights q8_0
expect 0 "weights-head=FORMAT" "$snlpc" compile --help
expect 2 "--context: found '0', wanted a whole number from 1" "$snlpc" compile "$model" -o o/p --context 0
expect 2 "--context: found '12x'" "$snlpc" compile "$model" -o o/p --context 12x
expect 2 "--sanitize: found 'memory'" "$snlpc" compile "$model" -o o/p --sanitize memory
expect 2 "there is no pass 'nope'" "$snlpc" compile "$model" -o o/p --pipeline nope
expect 2 "there is no pass 'nope'" "$snlpc" compile "$model" -o o/p --print-ir-after nope
expect 2 "a program needs \`shapes{tail=true}\`" "$snlpc" compile "$model" -o o/p \
    --pipeline 'inline-layers,pack,shapes{func=forward},schedule,plan-memory'
expect 2 "a program needs \`schedule\`" "$snlpc" compile "$model" -o o/p --pipeline inline-layers
expect 2 "warp9" "$snlpc" compile "$model" -o o/p --cpu warp9
expect 2 "found '', wanted native" timeout 60 "$snlpc" compile "$model" -o o/p --cpu ''
expect 2 "found 'haswell, broadwell', wanted native" "$snlpc" compile "$model" -o o/p --cpu 'haswell, broadwell'
expect 2 "--target: error[E0501]: found '', wanted a triple" "$snlpc" compile "$model" -o o/p --target ''
expect 0 "f16, q8_0 or auto" "$snlpc" compile --help
expect 0 "v4+vnni+bf16" "$snlpc" compile --help
expect 0 "takes every byte as it is" "$snlpc" tokenize --help
expect 0 "./demo [PROMPT] [PLAN]" env SNL_BUILD_DIR="$dir/no-build" "$SNL_SOURCE/demo" --help
[ -e no-build ] && fail "demo --help builds"
expect 2 "found 'no', wanted build, test or fuzz" "$SNL_SOURCE/tools/packages.sh" no
expect 0 "lld-19" "$SNL_SOURCE/tools/packages.sh" --list build
grep -qE 'qemu|numpy|clang' out && fail "packages for tests are wanted for a build"
expect 0 "qemu-user" "$SNL_SOURCE/tools/packages.sh" --list
expect 0 "clang-19" "$SNL_SOURCE/tools/packages.sh" --list fuzz

expect 2 "--target: error[E0501]: found 'nowhere'" "$snlpc" compile "$model" -o o/p --target nowhere
expect 1 "another kind of machine" "$snlpc" compile "$model" -o o/p --target aarch64-linux-gnu
for triple in x86_64-apple-darwin x86_64-pc-windows-msvc s390x-linux-gnu aarch64_be-linux-gnu \
    thumbeb-none-eabi armv7eb-linux-gnueabi bpf nvptx64-nvidia-cuda; do
    expect 2 "found '$triple', wanted a triple of a little-endian machine with ELF" "$snlpc" compile "$model" \
        -o o/p --emit obj --target $triple
done
for triple in thumbv7em-none-eabihf armv7-linux-gnueabihf riscv64-linux-gnu x86_64-unknown-freebsd; do
    expect 0 "" "$snlpc" compile "$model" -o o/code -q --emit obj --target $triple
    rm -f o/code
done
expect 2 "found 'x86_64-unknown-freebsd', wanted a triple of Linux" "$snlpc" compile "$model" -o o/p \
    --target x86_64-unknown-freebsd
expect 2 "--tensors is about the summary" "$snlpc" compile "$model" -o o/p --tensors --emit ir
expect 2 "--func is for --emit dot" "$snlpc" opt none.snl --func f
expect 2 "--list-passes takes no FILE" "$snlpc" opt none.snl --list-passes
expect 2 "--list-passes takes no FILE" "$snlpc" opt --list-passes -o o/p
expect_empty "bad usage"

# ---- inputs that are not there or not models
expect 4 "none" "$snlpc" compile none -o o/p
expect 4 "none" "$snlpc" inspect none
[ -s out ] && fail "inspect prints what it knows of nothing"
expect 4 "none.snl" "$snlpc" opt none.snl
expect 4 "none.snl" "$snlpc" run none.snl f
mkdir empty
expect 1 "config.json" "$snlpc" compile empty -o o/p
echo '{"model_type": "llama"' >empty/config.json
expect 1 "empty/config.json:" "$snlpc" compile empty -o o/p
echo 'module @m  func' >bad.snl
expect 1 "bad.snl:2:" "$snlpc" opt bad.snl
expect 1 "bad.snl:2:" "$snlpc" compile bad.snl -o o/p
for i in 1 2 3; do echo "weight @w$i : f32[4, 4] = source \"none.safetensors\" \"w$i\""; done >weights
{ echo "module @m"; cat weights; echo "func @forward(%tokens: i32[T], %pos: index) -> f32[T, 4] {"
  echo "  %a = embed %tokens, @w1 : f32[T, 4]"; echo "  %b = linear %a, @w2 : f32[T, 4]"
  echo "  %c = linear %b, @w3 : f32[T, 4]"; echo "  return %c"; echo "}"; } >sources.snl
expect 4 "weight '@w1' is declared here; its file is looked for from here" "$snlpc" compile sources.snl -o o/p
[ "$(grep -c "cannot open" err)" = 1 ] || fail "a missing file is told for every weight of it"
expect_empty "bad input"

# ---- outputs
cp -r "$model" own && chmod -R u+w own
for file in config.json model.safetensors tokenizer.json; do
    [ -e own/$file ] || continue
    expect 2 "own/$file: error[E0501]: found a file of the model" "$snlpc" compile own -o own/$file
    expect 2 "found a file of the model" "$snlpc" compile own -o own/../own/$file --emit ir
    cmp -s own/$file "$model/$file" || fail "compile has written over $file"
done
ln own/model.safetensors o/link
expect 2 "o/link: error[E0501]: found a file of the model" "$snlpc" compile own -o o/link
rm o/link
cp bad.snl o/m.snl
expect 2 "found a file of the model" "$snlpc" compile o/m.snl --emit ir -o o/m.snl
rm o/m.snl
expect 4 "no-folder/p" "$snlpc" compile "$model" -o no-folder/p
expect 4 "found a directory" "$snlpc" compile "$model" -o o
if [ "$(id -u)" != 0 ]; then
    chmod a-w o
    expect 4 "o/p" "$snlpc" compile "$model" -o o/p
    chmod u+w o
fi
if [ -w /dev/full ]; then
    expect 4 "cannot write" "$snlpc" compile "$model" --emit ir -o /dev/full
    "$snlpc" compile "$model" --emit ir >/dev/full 2>"$dir/err" && fail "a full disk is success"
    for words in --help --version "compile --help" "compile --usage" "opt --list-passes" "inspect $model"; do
        "$snlpc" $words >/dev/full 2>"$dir/err"
        [ $? = 4 ] || fail "a full disk is not exit code 4: $words"
        grep -q "stdout: cannot write" "$dir/err" || fail "a full disk is not told: $words"
    done
fi
# One level of code is enough where linking is what fails.
native="--cpu native"
expect 4 "TMPDIR: error[E0601]: cannot make a folder for temporary files in '$dir/no-folder'" env TMPDIR="$dir/no-folder" "$snlpc" compile "$model" -o o/p
expect 4 "(Debian package lld-19)" env SNLPC_LLD="$dir/no-linker" "$snlpc" compile "$model" $native -o o/p
printf '#!/bin/sh\necho duplicate symbol >&2\nexit 1\n' >linker && chmod +x linker
expect 4 "failed with exit status 1: duplicate symbol" env SNLPC_LLD="$dir/linker" \
    "$snlpc" compile "$model" $native -o o/p
mkdir tmp
(ulimit -f 2000 && exec env TMPDIR="$dir/tmp" "$snlpc" compile "$model" $native -o o/p) \
    >out 2>err
[ $? = 4 ] || fail "a file that may not grow is not exit code 4"
[ "$(wc -l <err)" = 1 ] || fail "a file that may not grow is not told in one line"
(ulimit -f 1000 && exec env TMPDIR="$dir/tmp" "$snlpc" compile "$model" $native -o o/p) >out 2>err
[ $? = 4 ] || fail "a program that may not grow is not exit code 4"
grep -q "/program: error.*: cannot write: files may have 1024000 bytes here.*ulimit -f" err || fail "the limit is not told"
[ -z "$(ls -A tmp)" ] || fail "temporary files stay behind: $(ls -A tmp)"
expect_empty "a failed compile"

# A stopped compile removes what it has begun. (Started as a job of its own: background jobs of a
# script ignore SIGINT, so SIGTERM.)
printf '#!/bin/sh\nkill -TERM $PPID\nsleep 1\nexit 1\n' >linker
TMPDIR="$dir/tmp" SNLPC_LLD="$dir/linker" "$snlpc" compile "$model" $native -o o/p >out 2>err
[ $? = 143 ] || fail "a terminated compile does not end by the signal"
[ -z "$(ls -A tmp)" ] || fail "a terminated compile leaves $(ls -A tmp)"
expect_empty "a terminated compile"

# An internal error leaves a reproducer that parses.
printf '#!/bin/sh\nkill -ABRT $PPID\nsleep 1\nexit 1\n' >linker
expect 3 "please report it with the file snlpc-reproducer-" env TMPDIR="$dir/tmp" \
    SNLPC_LLD="$dir/linker" "$snlpc" compile "$model" $native -o o/p
expect 0 "module @" "$snlpc" opt snlpc-reproducer-*.snl
grep -q -- "-o o/p" snlpc-reproducer-*.snl || fail "the reproducer lacks the command line"
[ -z "$(ls -A tmp)" ] || fail "an aborted compile leaves $(ls -A tmp)"
expect_empty "an aborted compile"

# ---- the kinds of output
expect 0 "chain" "$snlpc" compile "$model" --emit ir --pipeline ''
cp out seq.snl
expect 0 "module @" "$snlpc" opt seq.snl
cmp -s out seq.snl || fail "IR text does not round-trip"
"$snlpc" opt - <seq.snl >out 2>err || fail "opt does not read stdin"
cmp -s out seq.snl || fail "IR text does not round-trip through stdin"
# Streams that are closed.
"$snlpc" opt - <&- >out 2>err; [ $? = 2 ] || fail "closed input of opt is not exit code 2"
grep -q "standard input: error.*: found it closed, wanted IR text" err || fail "closed input of opt is not told"
"$snlpc" tokenize "$model" <&- >out 2>err; [ $? = 2 ] || fail "closed input of tokenize is not exit code 2"
grep -q "standard input: error.*: found it closed" err || fail "closed input of tokenize is not told"
"$snlpc" opt seq.snl <&- >out 2>err || fail "an input that is not wanted is missed"
"$snlpc" inspect "$model" >&- 2>err; [ $? = 4 ] || fail "closed output is not exit code 4"
grep -q "stdout: cannot write: it is closed" err || fail "closed output is not told"
"$snlpc" compile "$model" --emit ir --print-ir-after simplify -o o/x.snl <&- >&- 2>&- || fail "compile misses streams"
grep -q "after simplify" o/x.snl && fail "what goes to a closed stream is in the output"
expect 1 "tokens of the call: found 129, wanted at most 128, the positions that" \
    "$snlpc" run seq.snl forward --tokens 129 --random-weights 1
expect 2 "--tokens: error[E0501]: found 1000000, wanted at most 65536" \
    "$snlpc" run seq.snl forward --tokens 1000000 --random-weights 1
expect 2 "found '', wanted native" timeout 60 "$snlpc" run seq.snl forward --random-weights 1 --cpu ''
expect 0 "caches       1.0 MiB (f16 unless --kv says otherwise)" "$snlpc" inspect "$model"
expect 0 "digraph" "$snlpc" opt seq.snl --emit dot --func forward
expect 1 "no function '@nope'" "$snlpc" opt seq.snl --emit dot --func nope
expect 0 "stage = 0" "$snlpc" compile "$model" --emit ir
expect 0 "define" "$snlpc" compile "$model" --emit llvm
expect 0 ".text" "$snlpc" compile "$model" --emit asm
expect 0 "" "$snlpc" compile "$model" $native --emit obj -o o/code.o
file o/code.o | grep -q relocatable || fail "--emit obj gives no object: $(file o/code.o)"
expect 0 "" "$snlpc" compile "$model" --emit ir --dump-dir dumps -o o/all.snl
[ "$(ls dumps | wc -l)" -ge 8 ] || fail "--dump-dir wrote $(ls dumps | wc -l) files"
expect 0 "after simplify" "$snlpc" compile "$model" --emit ir --print-ir-after simplify -o o/x.snl
expect 0 "arena bytes" "$snlpc" compile "$model" --emit ir --timing -o o/x.snl

# ---- the program
expect 0 "barriers" "$snlpc" compile "$model" -o o/p
[ -x o/p ] || fail "the program is not executable"
expect 0 "" "$snlpc" compile "$model" -o o/q -q
[ -s "$dir/err" ] && fail "-q is not quiet"
cmp -s o/p o/q || fail "two compiles differ"
ldd o/p >out 2>&1
grep -qE 'not a dynamic executable|statically linked' out || fail "ldd does not say it is static"

[ $failures = 0 ] && echo "ok"
exit $((failures > 0))
