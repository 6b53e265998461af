/* tests/support/golden_eval.h -- one golden folder through frontend and evaluator: the sequential model. */
#ifndef SNL_TESTS_GOLDEN_EVAL_H
#define SNL_TESTS_GOLDEN_EVAL_H

/* Opens the folder's model and checks its `seq` case (logits, chain states, in several splits into
 * calls) and all its `ar_seq*` cases (tokens, and logits where stored). Ends the test on a difference. */
void golden_eval_sequential(const char *folder);

/* Tolerances of REFERENCE.md for a float32 implementation. */
#define GOLDEN_LOGITS_LIMIT 1e-4
#define GOLDEN_STATES_LIMIT 3e-5

#endif
