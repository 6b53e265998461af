/* ir/names.h -- private to ir/: the names of a module and its interned types.
 *
 * Look-up only: nothing iterates these tables, so no output depends on their order. A name belongs
 * to an owner (a function's values, a module's weights, ...), told apart by any pointer. */
#ifndef SNL_IR_NAMES_H
#define SNL_IR_NAMES_H

#include "ir/ir.h"

typedef struct SnlName {
    const void *owner;
    const char *text;
    uint64_t hash;
    void *what;         /* NULL: free (again) */
    unsigned next_suffix; /* first `text.N` that was not tried yet */
} SnlName;

typedef struct SnlNameTable {
    SnlName **slot; /* open addressing, n_slots a power of two */
    size_t n_slots, n_used;
} SnlNameTable;

typedef struct SnlTypeTable {
    const SnlType **slot;
    size_t n_slots, n_used;
} SnlTypeTable;

struct SnlModuleIndex {
    SnlNameTable names;
    SnlTypeTable types;
};

/* What `text` names under `owner`; NULL: nothing. */
void *snl_name_find(const SnlModule *m, const void *owner, const char *text);
/* Gives a free name a meaning. Returns the module's copy of the text. */
const char *snl_name_set(SnlModule *m, const void *owner, const char *text, void *what);
void snl_name_release(SnlModule *m, const void *owner, const char *text);
/* The first free one of stem.1, stem.2, ... (of 1, 2, ... for an empty stem). */
const char *snl_name_fresh(SnlModule *m, const void *owner, const char *stem);

/* Owners of a module's own names. */
static inline const void *snl_weight_names(const SnlModule *m) { return &m->weights; }
static inline const void *snl_state_names(const SnlModule *m) { return &m->states; }
static inline const void *snl_func_names(const SnlModule *m) { return &m->first; }

#endif
