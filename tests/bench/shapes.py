"""The shapes that are measured, and what a token costs them: weights, bytes, operations.

`make` (in make_models.py) writes a shape as files; bench.py runs it.
"""
from typing import NamedTuple


class Shape(NamedTuple):
    name: str
    family: str  # llama: gated FFN; nanochat: relu^2 FFN, value embeddings where `value_embeds`
    width: int
    layers: int
    heads: int
    kv_heads: int
    ffn: int
    vocab: int
    context: int
    tied: bool
    value_embeds: bool = False

    @property
    def kv_width(self):
        return self.width // self.heads * self.kv_heads

    def layer_weights(self):
        """Weights of all layers' matrices."""
        attention = 2 * self.width * self.width + 2 * self.width * self.kv_width
        ffn = (3 if self.family == "llama" else 2) * self.width * self.ffn
        return self.layers * (attention + ffn)

    def head_weights(self):
        return self.vocab * self.width

    def weight_bytes(self, body, head):
        """Bytes of weights that one decoded token reads."""
        return self.layer_weights() * BYTES[body] + self.head_weights() * BYTES[head]

    def prefill_flops(self, tokens):
        """Of `tokens` rows with causal attention; the head works for the last row only."""
        per_row = 2 * self.layer_weights() + 2 * self.width * self.layers * (tokens + 1)
        return per_row * tokens + 2 * self.head_weights()


BYTES = {"f32": 4, "bf16": 2, "f16": 2, "q8_0": 34 / 32, "q4_0": 18 / 32}
BLOCK = 32  # inputs of a q8_0 or q4_0 block
HEAD_OF = {"q4_0": "q8_0"}  # format of the output matrix where it is not the body's

# tiny is what the harness itself is tested with; 260K is a real model where ../shared has it.
SHAPES = {s.name: s for s in (
    Shape("tiny", "llama", 64, 2, 4, 2, 96, 320, 64, False),
    Shape("260K", "llama", 64, 5, 8, 4, 172, 512, 512, True),
    Shape("15M", "llama", 288, 6, 6, 6, 768, 32000, 1024, True),
    Shape("110M", "llama", 768, 12, 12, 12, 2048, 32000, 1024, True),
    Shape("0.5B", "nanochat", 640, 32, 5, 5, 2560, 32768, 1024, False, True),
    Shape("deep", "nanochat", 128, 32, 4, 4, 512, 256, 1024, False),
)}


def peer_shape(shape):
    """What peers run in its place: gated llama layers with about the same multiply-adds."""
    if shape.family == "llama":
        return shape
    gated = round(2 * shape.ffn / 3 / BLOCK + 0.4) * BLOCK
    return shape._replace(family="llama", ffn=gated, value_embeds=False)


SHAPES["0.5B-llama"] = peer_shape(SHAPES["0.5B"])._replace(name="0.5B-llama")


def in_blocks(shape):
    """Whether peers can store it in blocks: they need whole blocks in every row."""
    return all(n % BLOCK == 0 for n in (shape.width, shape.ffn, shape.kv_width))
