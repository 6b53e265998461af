/* tests/support/fake_model.h -- a model written by hand in C, as codegen would emit one.
 *
 * Its weights are a script of n token ids. After the token at position p it wants the id at p + 1
 * (modulo n) by a wide margin; what it thinks of the other ids depends on all tokens so far,
 * through its caches and workspace, so that a wrong block, barrier or position shows in the logits:
 *
 *   logits[v] = (v == script[(p + 1) % n] ? 20 : 0) + (sum(tokens 0..p) * (v + 1) % 97) / 97 + bias
 *
 * Modes: "seq"; "alt" with bias 1 everywhere; "slow", which takes 2 ms a call; "prompt", whose
 * prefill is a function of its own with bias 1; "warm", the same but marked as warm; "nan", whose
 * bias is NaN in calls that begin at position FAKE_BLOCK or later. Outputs "h.0"
 * [T, 4] and "h.1" [T, 2, 3]: h.0[t][i] = 10 * p + i, h.1[t][s][i] = 100 * p + 10 * s + i. */
#ifndef SNL_FAKE_MODEL_H
#define SNL_FAKE_MODEL_H

#include "runtime/abi.h"

/* The payload's id until fake_payload knows it: eight bytes that nothing else has. */
#define FAKE_ID 0x5eed1dc0ffee77a1
enum { FAKE_VOCAB = 256, FAKE_CONTEXT = 200, FAKE_BLOCK = 16 };
enum { FAKE_SEQ, FAKE_ALT, FAKE_SLOW, FAKE_PROMPT, FAKE_WARM, FAKE_NAN, FAKE_MODES };

#endif
