#!/usr/bin/env bash
# `snlpc tokenize` and `snlpc detokenize` on models, on a tokenizer.json alone, and on what they refuse.
set -u
snlpc=${SNLPC:?}
source=${SNL_SOURCE:?}
bytes=$source/tests/data/tokenizer/byte_level.json
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failures=0

# expect WANTED INPUT COMMAND...: exactly this on stdout, exit code 0. Both texts take printf's escapes.
expect() {
    local wanted=$1 input=$2
    shift 2
    printf "$input" | "$@" >"$dir/out" 2>"$dir/err"
    local status=$?
    printf "$wanted" >"$dir/wanted"
    if [ $status != 0 ] || ! cmp -s "$dir/out" "$dir/wanted"; then
        echo "FAILED ($status): $*; found:"
        cat "$dir/out" "$dir/err"
        failures=$((failures + 1))
    fi
}

# refuse CODE TEXT INPUT COMMAND...: exit code, and TEXT on stderr; nothing on stdout.
refuse() {
    local code=$1 text=$2 input=$3
    shift 3
    printf "$input" | "$@" >"$dir/out" 2>"$dir/err"
    local status=$?
    if [ $status != "$code" ] || [ -s "$dir/out" ] || ! grep -qF -- "$text" "$dir/err"; then
        echo "FAILED ($status, wanted $code): $*; found:"
        cat "$dir/out" "$dir/err"
        failures=$((failures + 1))
    fi
}

expect '283 259 264 282\n' 'hello world' "$snlpc" tokenize "$bytes"
expect '259 264\n' 'hello world' "$snlpc" tokenize --no-special "$bytes"
expect '259 282\n' 'hello<|end|>' "$snlpc" tokenize --no-special "$bytes"
expect '\n' '' "$snlpc" tokenize --no-special "$bytes"
expect 'hello world' '283 259 264 282\n' "$snlpc" detokenize "$bytes"
expect '<|user|>hello<|end|>' '283,259\t282' "$snlpc" detokenize --special "$bytes"
expect '' '' "$snlpc" detokenize "$bytes"
refuse 1 'standard input:1:5: error[E0305]: found "999", wanted a token id from 0 to 287' '259 999' \
    "$snlpc" detokenize "$bytes"
refuse 1 'found "-1"' '5 -1' "$snlpc" detokenize "$bytes"
refuse 4 'none.json: error[E0601]: cannot open' '' "$snlpc" tokenize "$dir/none.json"

# A model folder: no weights are needed to tokenize.
mkdir "$dir/model"
cat >"$dir/model/config.json" <<EOF
{"model_type": "nanochat", "tokenizer": "byte", "vocab_size": 256, "sequence_len": 16, "n_layer": 1,
 "n_head": 1, "n_kv_head": 1, "n_embd": 32, "window_pattern": "L"}
EOF
expect '104 105 255 10\n' 'hi\xff\n' "$snlpc" tokenize "$dir/model"
expect 'h\xc3\xa9' '104 195 169' "$snlpc" detokenize "$dir/model"
refuse 1 'found no tokenizer, wanted tokenizer.json in the folder' 'x' \
    "$snlpc" tokenize "$source/tests/data/llama"
echo '{"model": {"type": "Unigram", "vocab": []}}' >"$dir/tokenizer.json"
refuse 1 'tokenizer.json: $.model.type: error[E0305]: found "Unigram", which snlpc does not know' 'x' \
    "$snlpc" tokenize "$dir/tokenizer.json"

stories=${SNL_SHARED:-$source/../shared}/models/stories260K
if [ -d "$stories" ]; then
    expect '1 403 407 261 378\n' 'Once upon a time' "$snlpc" tokenize "$stories"
    expect 'Once upon a time' '1 403 407 261 378' "$snlpc" detokenize "$stories"
fi

[ $failures = 0 ] || exit 1
