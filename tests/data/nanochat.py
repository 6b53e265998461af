"""A sequential nanochat forward pass and one Newton sweep in plain Python floats (float64).

Written from the description in the reference set's REFERENCE.md, sections 1 and 2, apart from the
product's code. make.py uses it only after it has reproduced the stored outputs of the uncut models.
A model is {tensor name: (shape, flat list)}; hidden states are lists of T rows.
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


class Nanochat:
    def __init__(self, config, tensors):
        self.c, self.L = config, config["n_layer"]
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
        return out

    def heads(self, x, position):
        """Rotate, normalise and scale each head of a query or key."""
        out = []
        for first in range(0, len(x), self.d):
            x1, x2 = x[first:first + self.d // 2], x[first + self.d // 2:first + self.d]
            c = [math.cos(position * f) for f in self.freq]
            s = [math.sin(position * f) for f in self.freq]
            y = [a * p + b * q for a, b, p, q in zip(x1, x2, c, s)]
            y += [b * p - a * q for a, b, p, q in zip(x1, x2, c, s)]
            out.append([1.2 * a for a in norm(y)])
        return out

    def values(self, i, u, token):
        v = self.apply(f"transformer.h.{i}.attn.c_v.weight", u)
        v = [v[g * self.d:(g + 1) * self.d] for g in range(self.G)]
        if i % 2 == (self.L - 1) % 2 and not self.c["no_ve"]:
            table = self.rows[f"value_embeds.{i}.weight"][token]
            for g, gate in enumerate(self.rows[f"transformer.h.{i}.attn.ve_gate.weight"]):
                s = 3 * sigmoid(dot(gate, u[:12]))
                v[g] = [a + s * b for a, b in zip(v[g], table[g * self.d:(g + 1) * self.d])]
        return v

    def attention(self, i, n, tokens):
        name = f"transformer.h.{i}.attn."
        q = [self.heads(self.apply(name + "c_q.weight", u), t) for t, u in enumerate(n)]
        k = [self.heads(self.apply(name + "c_k.weight", u), t) for t, u in enumerate(n)]
        v = [self.values(i, u, token) for u, token in zip(n, tokens)]
        window, out = self.window(i), []
        for t in range(len(n)):
            row, seen = [], range(max(0, t - window), t + 1)
            for h in range(self.H):
                g = h // (self.H // self.G)
                score = [dot(q[t][h], k[j][g]) / math.sqrt(self.d) for j in seen]
                top = max(score)
                weight = [math.exp(s - top) for s in score]
                total = sum(weight)
                row += [sum(w * v[j][g][a] for w, j in zip(weight, seen)) / total
                        for a in range(self.d)]
            out.append(self.apply(name + "c_proj.weight", row))
        return out

    def layer(self, i, h, x0, tokens):
        x = h
        if not self.c["no_x0_resid"]:
            r, s = self.vector("resid_lambdas")[i], self.vector("x0_lambdas")[i]
            x = [[r * a + s * b for a, b in zip(p, q)] for p, q in zip(h, x0)]
        branch = self.attention(i, [norm(p) for p in x], tokens)
        y = [[a + b for a, b in zip(p, q)] for p, q in zip(x, branch)]
        out = []
        for row in y:
            u = self.apply(f"transformer.h.{i}.mlp.c_fc.weight", norm(row))
            z = self.apply(f"transformer.h.{i}.mlp.c_proj.weight", [max(a, 0.0) ** 2 for a in u])
            out.append([a + b for a, b in zip(row, z)])
        return out

    def head(self, last, tap):
        amount, out = self.vector("backout_lambda")[0], []
        for p, q in zip(last, tap):
            z = norm([a - amount * b for a, b in zip(p, q)])
            row = self.apply("lm_head.weight", z)[:self.c["vocab_size"]]
            out.append([15 * math.tanh(a / 15) for a in row])
        return out

    def sequential(self, tokens):
        """(x0, [h.0 .. h.L-1], logits)"""
        x0 = self.embed(tokens)
        h = [x0]
        for i in range(self.L):
            h.append(self.layer(i, h[-1], x0, tokens))
        return x0, h[1:], self.head(h[-1], h[1 + self.L // 2])

    def one_sweep(self, tokens, n):
        """Logits of the plan `n<n> K1 h0`: identity surrogate, every unit reads the window's input."""
        x0 = self.embed(tokens)
        h = [x0]
        for i in range(self.L - n):
            h.append(self.layer(i, h[-1], x0, tokens))
        s = h[-1]
        for i in range(self.L - n, self.L):
            o = self.layer(i, s, x0, tokens)
            h.append([[a + b - c for a, b, c in zip(p, q, r)] for p, q, r in zip(o, h[-1], s)])
        return self.head(h[-1], h[1 + self.L // 2])

    def greedy(self, prompt, steps):
        """(generated ids, the logits rows they come from)"""
        ids, rows = list(prompt), []
        for _ in range(steps):
            rows.append(self.sequential(ids)[2][-1])
            ids.append(max(range(len(rows[-1])), key=rows[-1].__getitem__))
        return ids[len(prompt):], rows
