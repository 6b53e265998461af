"""Turns the vocabulary of a GGUF file into a Hugging Face tokenizer.json, for tests.

    gguf_tokenizer.py FILE.gguf OUT.json

Knows the vocabularies of kind "gpt2" (byte-level BPE; pre-tokenizers gpt-2 and mpt) and "llama"
(SentencePiece BPE, whose merges are worked out from the scores). Plain Python 3.
"""
import json
import struct
import sys

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def unpack(self, code):
        values = struct.unpack_from("<" + code, self.data, self.at)
        self.at += struct.calcsize("<" + code)
        return values if len(values) > 1 else values[0]

    def string(self):
        n = self.unpack("Q")
        self.at += n
        return self.data[self.at - n : self.at].decode("utf-8")

    def value(self, kind):
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            inner, n = self.unpack("IQ")
            return [self.value(inner) for _ in range(n)]
        return self.unpack(SCALARS[kind])


def read_metadata(path):
    with open(path, "rb") as file:
        reader = Reader(file.read())
    magic, version, _, n_pairs = reader.unpack("4sIQQ")
    if magic != b"GGUF" or version not in (2, 3):
        sys.exit(f"{path}: not a GGUF file of version 2 or 3")
    pairs = {}
    for _ in range(n_pairs):
        key = reader.string()
        pairs[key] = reader.value(reader.unpack("I"))
    return pairs


def added_tokens(tokens, kinds):
    """Control tokens are special; user-defined ones are ordinary text that always stays whole."""
    out = []
    for i, (token, kind) in enumerate(zip(tokens, kinds)):
        if kind in (CONTROL, USER):
            out.append({"id": i, "content": token, "single_word": False, "lstrip": False,
                        "rstrip": False, "normalized": kind == USER, "special": kind == CONTROL})
    return out


def merges_by_score(tokens, scores, kinds):
    """All ways to put a token together from two others; the best-scored token first."""
    id_of = {token: i for i, token in enumerate(tokens)}
    merges = []
    for token, score, kind in zip(tokens, scores, kinds):
        if kind != NORMAL:
            continue
        pairs = [(token[:i], token[i:]) for i in range(1, len(token))]
        pairs = [(a, b) for a, b in pairs if a in id_of and b in id_of]
        pairs.sort(key=lambda pair: (id_of[pair[0]], id_of[pair[1]]))
        merges += [(score, a, b) for a, b in pairs]
    merges.sort(key=lambda m: (m[0], len(m[1]), len(m[2])), reverse=True)
    return [[a, b] for _, a, b in merges]


def byte_level(pairs):
    normalizer = {"type": "NFC"} if pairs["tokenizer.ggml.pre"] == "mpt" else None
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {"normalizer": normalizer, "pre_tokenizer": level, "decoder": level,
            "model": {"type": "BPE", "merges": pairs["tokenizer.ggml.merges"]}}


def sentence_piece(pairs):
    mark = "\u2581"
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": mark}
    back = {"type": "Replace", "pattern": {"String": mark}, "content": " "}
    tokens, kinds = pairs["tokenizer.ggml.tokens"], pairs["tokenizer.ggml.token_type"]
    model = {"type": "BPE", "unk_token": tokens[pairs["tokenizer.ggml.unknown_token_id"]],
             "fuse_unk": True, "byte_fallback": True,
             "merges": merges_by_score(tokens, pairs["tokenizer.ggml.scores"], kinds)}
    bos = tokens[pairs["tokenizer.ggml.bos_token_id"]]
    single = [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    special = {bos: {"id": bos, "ids": [pairs["tokenizer.ggml.bos_token_id"]], "tokens": [bos]}}
    return {"normalizer": {"type": "Sequence",
                           "normalizers": [{"type": "Prepend", "prepend": mark}, replace]},
            "pre_tokenizer": None,
            "post_processor": {"type": "TemplateProcessing", "single": single, "pair": [],
                               "special_tokens": special},
            "decoder": {"type": "Sequence",
                        "decoders": [back, {"type": "ByteFallback"}, {"type": "Fuse"},
                                     {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
            "model": model}


def convert(pairs):
    kind = pairs["tokenizer.ggml.model"]
    if kind not in ("gpt2", "llama"):
        sys.exit(f"tokenizer.ggml.model: found {kind}, wanted gpt2 or llama")
    out = {"version": "1.0", "truncation": None, "padding": None, "post_processor": None}
    out.update(byte_level(pairs) if kind == "gpt2" else sentence_piece(pairs))
    tokens, kinds = pairs["tokenizer.ggml.tokens"], pairs["tokenizer.ggml.token_type"]
    out["added_tokens"] = added_tokens(tokens, kinds)
    added = {token["content"] for token in out["added_tokens"] if token["normalized"]}
    out["model"]["vocab"] = {t: i for i, t in enumerate(tokens) if t not in added}
    return out


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump(convert(read_metadata(sys.argv[1])), file, ensure_ascii=False)


if __name__ == "__main__":
    main()
