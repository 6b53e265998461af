"""The nanochat models of the reference set in plain Python floats (float64): the sequential model, Newton
windows over its last layers, and generation with corrected caches.

Written from the description in the reference set's REFERENCE.md, sections 1 to 3, apart from the
product's code. make.py uses it on cut models only after it has reproduced the stored outputs of the whole
ones. A state is a list of T rows, a row a list of S streams (S = 1 without mHC), a stream a list of D numbers.
"""
import math
from operator import mul

EPS = 2.0 ** -23


def dot(a, b):
    return sum(map(mul, a, b))


def norm(x):
    inverse = 1 / math.sqrt(dot(x, x) / len(x) + EPS)
    return [a * inverse for a in x]


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def combine(weights, rows):
    """sum_i weights[i] * rows[i]"""
    return [dot(weights, column) for column in zip(*rows)]


def softmax(x):
    e = [math.exp(a - max(x)) for a in x]
    return [a / sum(e) for a in e]


def matmul(a, b):
    return [[dot(row, column) for column in zip(*b)] for row in a]


def mean(matrices):
    return [[sum(cells) / len(cells) for cells in zip(*rows)] for rows in zip(*matrices)]


def log_sum_exp(x):
    top = max(x)
    return top + math.log(sum(math.exp(a - top) for a in x))


def sinkhorn(logits, tau, iterations):
    z = [[a / tau for a in row] for row in logits]
    u, v = [0.0] * len(z), [0.0] * len(z)
    for _ in range(iterations):
        u = [-log_sum_exp([a + b for a, b in zip(row, v)]) for row in z]
        v = [-log_sum_exp([a + b for a, b in zip(column, u)]) for column in zip(*z)]
    return [[math.exp(a + p + q) for a, q in zip(row, v)] for row, p in zip(z, u)]


class Nanochat:
    def __init__(self, config, tensors):
        self.c, self.L, self.mhc = config, config["n_layer"], config["use_mhc"]
        self.H, self.G = config["n_head"], config["n_kv_head"]
        self.D = config["n_embd"]
        self.d = self.D // self.H
        self.rows = {name: self.as_rows(*tensor) for name, tensor in tensors.items()}
        self.freq = [100000.0 ** (-2 * j / self.d) for j in range(self.d // 2)]

    @staticmethod
    def as_rows(shape, flat):
        width = shape[-1]
        return [flat[i:i + width] for i in range(0, len(flat), width)]

    def vector(self, name):
        return self.rows[name][0]

    def apply(self, name, x):
        return [dot(row, x) for row in self.rows[name]]

    # ---- the parts of a layer ----------------------------------------------------------------------

    def window(self, i):
        pattern = self.c["window_pattern"]
        length = self.c["sequence_len"]
        if i == self.L - 1 or pattern[i % len(pattern)] == "L":
            return length
        return 128 * math.ceil(math.ceil(length / 4) / 128)

    def embed(self, tokens):
        e = [norm(self.rows["transformer.wte.weight"][t]) for t in tokens]
        gate, amount = self.vector("smear_gate.weight"), self.vector("smear_lambda")[0]
        out = [e[0]]
        for before, now in zip(e, e[1:]):
            s = amount * sigmoid(dot(gate, now[:24]))
            out.append([a + s * b for a, b in zip(now, before)])
        return [[x] * (self.c["mhc_num_streams"] if self.mhc else 1) for x in out]

    def heads(self, x, position):
        """Rotate, normalise and scale each head of a query or key."""
        c = [math.cos(position * f) for f in self.freq]
        s = [math.sin(position * f) for f in self.freq]
        out = []
        for first in range(0, len(x), self.d):
            x1, x2 = x[first:first + self.d // 2], x[first + self.d // 2:first + self.d]
            y = [a * p + b * q for a, b, p, q in zip(x1, x2, c, s)]
            y += [b * p - a * q for a, b, p, q in zip(x1, x2, c, s)]
            out.append([1.2 * a for a in norm(y)])
        return out

    def values(self, i, u, token, value_embeds):
        v = self.apply(f"transformer.h.{i}.attn.c_v.weight", u)
        v = [v[g * self.d:(g + 1) * self.d] for g in range(self.G)]
        if value_embeds and i % 2 == (self.L - 1) % 2 and not self.c["no_ve"]:
            table = self.rows[f"value_embeds.{i}.weight"][token]
            for g, gate in enumerate(self.rows[f"transformer.h.{i}.attn.ve_gate.weight"]):
                s = 3 * sigmoid(dot(gate, u[:12]))
                v[g] = [a + s * b for a, b in zip(v[g], table[g * self.d:(g + 1) * self.d])]
        return v

    def attention(self, i, n, tokens, past, value_embeds=True):
        """Branch output and the new keys and values; past = (keys, values) of earlier positions."""
        name = f"transformer.h.{i}.attn."
        first = len(past[0])
        q = [self.heads(self.apply(name + "c_q.weight", u), first + t) for t, u in enumerate(n)]
        new = ([self.heads(self.apply(name + "c_k.weight", u), first + t) for t, u in enumerate(n)],
               [self.values(i, u, token, value_embeds) for u, token in zip(n, tokens)])
        k, v = past[0] + new[0], past[1] + new[1]
        window, out = self.window(i), []
        for t in range(len(n)):
            row, seen = [], range(max(0, first + t - window), first + t + 1)
            for h in range(self.H):
                g = h // (self.H // self.G)
                weight = softmax([dot(q[t][h], k[j][g]) / math.sqrt(self.d) for j in seen])
                row += combine(weight, [v[j][g] for j in seen])
            out.append(self.apply(name + "c_proj.weight", row))
        return out, new

    def mlp(self, i, n):
        name = f"transformer.h.{i}.mlp."
        return [self.apply(name + "c_proj.weight",
                           [max(a, 0.0) ** 2 for a in self.apply(name + "c_fc.weight", u)]) for u in n]

    def mixing(self, layers, sub):
        """Mean over the layers of the projected Hres, Hpre, Hpost of a sublayer; trivial without mHC."""
        if not self.mhc:
            return [[1.0]], [1.0], [1.0]
        name = f"hc_{sub}.H_"
        tau, iterations = self.c["mhc_sinkhorn_tau"], self.c["mhc_sinkhorn_iters"]
        at = [f"transformer.h.{i}.{name}" for i in layers]
        return (mean([sinkhorn(self.rows[n + "res_logits"], tau, iterations) for n in at]),
                mean([[softmax(self.vector(n + "pre_logits"))] for n in at])[0],
                mean([[softmax(self.vector(n + "post_logits"))] for n in at])[0])

    def blend(self, layers, h, x0):
        if self.c["no_x0_resid"]:
            return h
        r, s = (sum(self.vector(name)[i] for i in layers) / len(layers)
                for name in ("resid_lambdas", "x0_lambdas"))
        return [[combine([r, s], pair) for pair in zip(p, q)] for p, q in zip(h, x0)]

    def unit(self, layers, h, x0, tokens, past=None, value_embeds=True):
        """One layer, or several fused with one input and one middle state; past and new: {layer: (k, v)}."""
        new = {}

        def sublayer(x, sub, branch_of):
            res, pre, post = self.mixing(layers, sub)
            n = [norm(combine(pre, row)) for row in x]
            total = [combine([1.0] * len(layers), rows) for rows in zip(*(branch_of(i, n) for i in layers))]
            return [[combine(m + [p], row + [b]) for m, p in zip(res, post)] for row, b in zip(x, total)]

        def attend(i, n):
            out, new[i] = self.attention(i, n, tokens, past[i] if past else ([], []), value_embeds)
            return out

        y = sublayer(self.blend(layers, h, x0), "attn", attend)
        return sublayer(y, "mlp", self.mlp), new

    def head(self, last, tap):
        amount, out = self.vector("backout_lambda")[0], []
        for p, q in zip(last, tap):
            ones = [1.0] * len(p)
            z = norm(combine([1.0, -amount], [combine(ones, p), combine(ones, q)]))
            row = self.apply("lm_head.weight", z)[:self.c["vocab_size"]]
            out.append([15 * math.tanh(a / 15) for a in row])
        return out

    # ---- whole models ----------------------------------------------------------------------------------

    def chain(self, layers, h, x0, tokens, past=None):
        """States after each layer, and the new keys and values."""
        out, new = [], {}
        for i in layers:
            h, own = self.unit([i], h, x0, tokens, past)
            out.append(h)
            new |= own
        return out, new

    def sequential(self, tokens):
        """(x0, [h.0 .. h.L-1], logits)"""
        x0 = self.embed(tokens)
        h, _ = self.chain(range(self.L), x0, x0, tokens)
        return x0, h, self.head(h[-1], h[self.L // 2])

    def correct(self, units, s, o):
        """s'_{j+1} = o_j + A_j (s'_j - s_j), A the product of the receiving unit's stream matrices."""
        new = [s[0]]
        for j, layers in enumerate(units):
            A = matmul(self.mixing(layers, "mlp")[0], self.mixing(layers, "attn")[0])
            rows = []
            for now, old, out in zip(new[j], s[j], o[j]):
                step = [combine([1.0, -1.0], pair) for pair in zip(now, old)]
                rows.append([combine([1.0] + m, [b] + step) for m, b in zip(A, out)])
            new.append(rows)
        return new

    def solve(self, units, h, x0, tokens, K, init="h0", past=None, warm=None, value_embeds=True):
        """States s_0..s_n of a window after K sweeps; `past` is only read."""
        def outputs(s):
            return [self.unit(layers, s[j], x0, tokens, past, value_embeds)[0]
                    for j, layers in enumerate(units)]
        s = [h] + (warm or [h] * len(units))
        if init == "batch_fwd":
            s = [h] + outputs(s)
        for _ in range(K):
            s = self.correct(units, s, outputs(s))
        return s

    def logits_of(self, units, prefix, s):
        """Backout reads the end of the unit that contains its layer."""
        ends = dict(enumerate(prefix))
        for j, layers in enumerate(units):
            ends |= {i: s[j + 1] for i in layers}
        return self.head(s[-1], ends[self.L // 2])

    def window_logits(self, tokens, units, K, init="h0", value_embeds=True):
        """The plan with these units (lists of layers, the last ones) over a whole text."""
        x0 = self.embed(tokens)
        prefix, _ = self.chain(range(units[0][0]), x0, x0, tokens)
        h = prefix[-1] if prefix else x0
        s = self.solve(units, h, x0, tokens, K, init, value_embeds=value_embeds)
        return self.logits_of(units, prefix, s)

    def generate(self, prompt, steps, n=0, K=1, init="h0"):
        """Greedy: exact prompt, then the last n layers by K sweeps, caches from corrected inputs.
        Returns the ids and the logits rows they come from."""
        ids, units = list(prompt), [[i] for i in range(self.L - n, self.L)]
        x0 = self.embed(ids)
        h, past = self.chain(range(self.L), x0, x0, ids)
        rows = [self.head(h[-1][-1:], h[self.L // 2][-1:])[0]]
        warm = [[state[-1]] for state in h[self.L - n:]]
        while True:
            ids.append(max(range(len(rows[-1])), key=rows[-1].__getitem__))
            if len(ids) == len(prompt) + steps:
                return ids[len(prompt):], rows
            token, x0 = ids[-1:], self.embed(ids)[-1:]
            prefix, new = self.chain(range(self.L - n), x0, x0, token, past)
            h = prefix[-1] if prefix else x0
            s = self.solve(units, h, x0, token, K, init, past, warm if init == "warm" else None)
            warm = s[1:]
            for j, layers in enumerate(units):
                new |= self.unit(layers, s[j], x0, token, past)[1]
            for i, (k, v) in new.items():
                past[i] = (past[i][0] + k, past[i][1] + v)
            rows.append(self.logits_of(units, prefix, s)[0])
