/* ir/ir.h -- the graph: modules, functions, operations, values, weights, states.
 *
 * SSA over tensors; a function body is one straight list of operations. The text form (ir/IR.md) is
 * the interface; this header is its memory image. Everything lives in the module's arena.
 *
 * Use lists are intrusive and kept by the functions below; never write `SnlUse.value` yourself.
 * Values have dense ids per function: passes keep side tables indexed by them. */
#ifndef SNL_IR_IR_H
#define SNL_IR_IR_H

#include "ir/base/diag.h"
#include "ir/type.h"

#define SNL_MANY 65535

typedef enum SnlOpCode {
#define OP(NAME, text, min_in, max_in, symbols, n_out, flags, rule) SNL_OP_##NAME,
#include "ir/ops.def"
#undef OP
    SNL_OP_COUNT
} SnlOpCode;

enum { SNL_PURE = 1, SNL_EFFECT = 2, SNL_ELTWISE = 4, SNL_ROWWISE = 8, SNL_CALLS = 16,
       SNL_TERMINATOR = 32 };

typedef struct SnlModule SnlModule;
typedef struct SnlFunc SnlFunc;
typedef struct SnlOp SnlOp;
typedef struct SnlValue SnlValue;
typedef struct SnlWeight SnlWeight;
typedef struct SnlState SnlState;

/* ---- attributes ------------------------------------------------------------------------------ */

typedef enum SnlAttrKind {
    SNL_ATTR_FLAG,   /* {reduce}                 */
    SNL_ATTR_INT,    /* {heads = 4}              */
    SNL_ATTR_REAL,   /* {eps = 1e-05}            */
    SNL_ATTR_WORD,   /* {init = h0}              */
    SNL_ATTR_STRING, /* {family = "llama"}       */
    SNL_ATTR_WEIGHT, /* {coef = [1.0, @scalar]}: a weight of one element */
    SNL_ATTR_LIST
} SnlAttrKind;

typedef struct SnlAttrValue {
    SnlAttrKind kind;
    union {
        int64_t i;
        double r;
        const char *s; /* WORD, STRING */
        SnlWeight *weight;
        struct {
            struct SnlAttrValue *at;
            size_t n;
        } list;
    };
} SnlAttrValue;

typedef struct SnlAttr {
    const char *key;
    SnlAttrValue value;
} SnlAttr;

/* Sorted by key, so printing is deterministic. */
typedef struct SnlAttrs {
    SnlAttr *at;
    size_t n, cap;
} SnlAttrs;

const SnlAttrValue *snl_attr_find(const SnlAttrs *attrs, const char *key); /* NULL: absent */
bool snl_attr_flag(const SnlAttrs *attrs, const char *key);
/* INT (or the given default when absent or of another kind; the verifier has checked kinds). */
int64_t snl_attr_int(const SnlAttrs *attrs, const char *key, int64_t def);
double snl_attr_real(const SnlAttrs *attrs, const char *key, double def); /* INT is accepted */
const char *snl_attr_text(const SnlAttrs *attrs, const char *key, const char *def);
/* Element i of an INT list, or the scalar itself for every i. */
int64_t snl_attr_int_at(const SnlAttrs *attrs, const char *key, size_t i, int64_t def);
void snl_attr_set(SnlModule *m, SnlAttrs *attrs, const char *key, SnlAttrValue value);
void snl_attr_set_int(SnlModule *m, SnlAttrs *attrs, const char *key, int64_t value);
void snl_attr_set_real(SnlModule *m, SnlAttrs *attrs, const char *key, double value);
void snl_attr_set_word(SnlModule *m, SnlAttrs *attrs, const char *key, const char *word);
void snl_attr_set_string(SnlModule *m, SnlAttrs *attrs, const char *key, const char *text);
void snl_attr_set_flag(SnlModule *m, SnlAttrs *attrs, const char *key);
void snl_attr_remove(SnlAttrs *attrs, const char *key);
/* What the schedule leaves on operations (ir/attr_rules.def); ends with NULL. */
extern const char *const snl_scheduling_keys[];
bool snl_attrs_equal(const SnlAttrs *a, const SnlAttrs *b);
SnlAttrs snl_attrs_copy(SnlModule *m, const SnlAttrs *attrs);

/* ---- weights and states ---------------------------------------------------------------------- */

typedef enum SnlWexprCode {
#define WEXPR(NAME, text, min_args, max_args, streams) SNL_WEXPR_##NAME,
#include "ir/wexprs.def"
#undef WEXPR
    SNL_WEXPR_COUNT
} SnlWexprCode;

#define SNL_SMALL_WEIGHT ((int64_t)1 << 20)

/* `weight @name : f32[F, D] = expr`. An expression's arguments are other weights declared before
 * it. */
struct SnlWeight {
    const char *name; /* without '@' */
    const SnlType *type;
    SnlWexprCode code;
    const char *file, *tensor; /* SOURCE */
    SnlWeight **arg;
    size_t n_arg;
    SnlAttrs attrs;
    SnlLoc loc;
    uint32_t id; /* dense, order of declaration */
};

/* `state @name : f32[2, G, C, d]` of a module, or a `@name: state` parameter of a function. */
struct SnlState {
    const char *name;
    const SnlType *type; /* NULL: parameter */
    SnlLoc loc;
    uint32_t id; /* module states: order of declaration; parameters: position among them */
};

/* ---- operations ------------------------------------------------------------------------------ */

typedef struct SnlUse {
    SnlValue *value;
    SnlOp *user;
    struct SnlUse *next, **link; /* *link == this use */
} SnlUse;

struct SnlValue {
    const SnlType *type;
    SnlOp *def;   /* NULL: parameter of the function */
    SnlUse *uses; /* NULL: unused */
    const char *name; /* without '%'; unique in the function */
    SnlLoc loc;
    uint32_t id;
};

/* A layer with its states bound: `@block.0(@kv.0)`. */
typedef struct SnlBinding {
    SnlFunc *layer;
    SnlState **state;
    size_t n_state;
} SnlBinding;

/* A symbol operand group. `[@a, @b]` has n = 2 members, `@a` has n = 1 and list = false
 * (a list of one, `[@a]`, keeps list = true so that text round-trips). */
typedef struct SnlSymbols {
    size_t n;
    bool list;
    SnlWeight **weight; /* group letter w */
    SnlState **state;   /* group letter s */
    SnlBinding *bind;   /* group letter l */
} SnlSymbols;

enum { SNL_MAX_GROUPS = 2 };

struct SnlOp {
    SnlOpCode code;
    SnlFunc *func;
    SnlOp *prev, *next;
    SnlUse *in;
    size_t n_in;
    SnlValue **out;
    size_t n_out;
    SnlSymbols sym[SNL_MAX_GROUPS]; /* absent optional group: n = 0 */
    SnlAttrs attrs;
    SnlLoc loc;
};

typedef struct SnlOpInfo {
    const char *text;
    int min_in, max_in;
    const char *symbols;
    int n_out;
    unsigned flags;
} SnlOpInfo;
extern const SnlOpInfo snl_op_info[SNL_OP_COUNT];
bool snl_op_find(const char *text, size_t n, SnlOpCode *out);
/* Letter of group g of the op's `symbols` ('w', 's', 'l'), 0 when there is no such group. */
char snl_op_group_letter(SnlOpCode code, int g);

static inline SnlValue *snl_in(const SnlOp *op, size_t i) { return op->in[i].value; }
static inline SnlWeight *snl_op_weight(const SnlOp *op, size_t member) /* group 0 */
{
    return op->sym[0].weight[member];
}

/* ---- functions ------------------------------------------------------------------------------- */

typedef enum SnlFuncKind { SNL_LAYER, SNL_FUNC } SnlFuncKind;

typedef enum SnlSurrogateKind { SNL_SURROGATE_NONE, SNL_SURROGATE_IDENTITY, SNL_SURROGATE_ZERO,
                                SNL_SURROGATE_DIAG, SNL_SURROGATE_STREAMS } SnlSurrogateKind;

/* `layer @name(%h: f32[T, D], ..., @kv: state) -> f32[T, D] surrogate identity { ... }` or
 * `func @name(...) -> ... attributes {...} { ... }`. Value parameters come before state parameters;
 * the first value parameter of a layer is the chained state h. */
struct SnlFunc {
    SnlFuncKind kind;
    const char *name;
    SnlModule *module;
    SnlValue **param;
    size_t n_param;
    SnlState **state_param;
    size_t n_state_param;
    const SnlType **result;
    size_t n_result;
    SnlSurrogateKind surrogate;
    SnlWeight *surrogate_weight; /* DIAG [D], STREAMS [S, S] */
    SnlAttrs attrs;
    SnlOp *first, *last; /* last is `return` once the body is complete */
    uint32_t n_values;   /* ids handed out */
    SnlFunc *prev, *next;
    SnlLoc loc;
};

struct SnlModule {
    SnlArena *arena;
    const char *name;
    SnlAttrs attrs;
    SnlVec(SnlWeight *) weights;
    SnlVec(SnlState *) states;
    SnlFunc *first, *last; /* layers and funcs in order of declaration */
    const char *base_dir;  /* `source "file"` is relative to it; NULL: current folder */
    struct SnlModuleIndex *index; /* names and interned types; private to ir/ */
};

/* ---- building -------------------------------------------------------------------------------- */

SnlModule *snl_module_create(SnlArena *arena, const char *name);

const SnlType *snl_type(SnlModule *m, SnlDtype dtype, int rank, const int64_t *dim);
/* f32[T, D] and f32[T, M, D]; members = 0 gives the rank 2 one. */
const SnlType *snl_type_rows(SnlModule *m, int64_t width);
const SnlType *snl_type_members_of(SnlModule *m, int64_t members, int64_t width);
const SnlType *snl_type_index(SnlModule *m);

/* Declarations. A repeated name is a programmer's mistake here (the parser looks first). */
SnlWeight *snl_weight_source(SnlModule *m, const char *name, const SnlType *type, const char *file,
                             const char *tensor);
SnlWeight *snl_weight_expr(SnlModule *m, const char *name, const SnlType *type, SnlWexprCode code,
                           SnlWeight *const *arg, size_t n_arg);
SnlState *snl_module_state(SnlModule *m, const char *name, const SnlType *type);
SnlFunc *snl_func_create(SnlModule *m, SnlFuncKind kind, const char *name);
/* Moves `func` before `before` in the module's list (NULL: to the end). */
void snl_func_move(SnlFunc *func, SnlFunc *before);
void snl_func_remove(SnlFunc *func);
SnlValue *snl_func_param(SnlFunc *func, const char *name, const SnlType *type);
SnlState *snl_func_state_param(SnlFunc *func, const char *name);
void snl_func_result(SnlFunc *func, const SnlType *type);

SnlWeight *snl_module_find_weight(const SnlModule *m, const char *name);
SnlState *snl_module_find_state(const SnlModule *m, const char *name);
SnlFunc *snl_module_find_func(const SnlModule *m, const char *name);
/* Keeps the weights (states) whose keep[id] is true, gives them dense ids again, frees the others'
 * names. Nothing that stays may refer to one that goes. */
void snl_module_keep_weights(SnlModule *m, const bool *keep);
void snl_module_keep_states(SnlModule *m, const bool *keep);
/* Of caches without a format of their own: f32 when all matrices are stored as f32, else f16. */
SnlDtype snl_module_cache_format(const SnlModule *m);
/* `stem`, or `stem.1`, `stem.2`, ... : a weight name not in use yet. */
const char *snl_module_fresh_weight_name(SnlModule *m, const char *stem);

/* A new op before `before` (NULL: at the end of func). Operands and attributes are set after it;
 * then snl_op_infer gives the results their types. */
SnlOp *snl_op_create(SnlFunc *func, SnlOp *before, SnlOpCode code);
void snl_op_add_in(SnlOp *op, SnlValue *value);
void snl_op_set_in(SnlOp *op, size_t i, SnlValue *value);
void snl_op_set_ins(SnlOp *op, SnlValue *const *value, size_t n); /* replaces all operands */
void snl_op_set_weights(SnlOp *op, int group, SnlWeight *const *w, size_t n, bool list);
void snl_op_set_states(SnlOp *op, int group, SnlState *const *s, size_t n, bool list);
void snl_op_set_bindings(SnlOp *op, int group, const SnlBinding *b, size_t n, bool list);
/* A result of the op; name NULL gives a fresh one ("1", "2", ...). A taken name gets a suffix. */
SnlValue *snl_op_add_out(SnlOp *op, const char *name, const SnlType *type);
/* Infers result types from operands (ir/infer.c) and adds the results, named `name`, `name.1`, ...
 * The op must be valid: a mistake here is the programmer's. Returns the first result (NULL:
 * none). */
SnlValue *snl_op_finish(SnlOp *op, const char *name);
/* Same computation with operands mapped through `map` (indexed by value id of op's func; a NULL
 * entry or a NULL map means the same value, in the same function only). The clone's results are
 * entered in the map. States and bound states are not mapped. */
SnlOp *snl_op_clone(const SnlOp *op, SnlFunc *into, SnlOp *before, SnlValue **map);

/* Removes an op without live uses. */
void snl_op_erase(SnlOp *op);
void snl_op_move(SnlOp *op, SnlOp *before); /* within its function; NULL: to the end */
void snl_value_replace(SnlValue *old, SnlValue *by); /* all uses */
/* Another name for a result of an op (a taken one gets a suffix). */
void snl_value_rename(SnlValue *value, const char *name);
bool snl_value_single_use(const SnlValue *value);
size_t snl_value_use_count(const SnlValue *value);
/* Renumbers value ids densely in order of definition (parameters first). */
void snl_func_renumber(SnlFunc *func);
/* A deep copy under another name, at the end of the module. */
SnlFunc *snl_func_clone(const SnlFunc *func, const char *name);

/* ---- inference and verification (ir/infer.c, ir/verify.c) ------------------------------------ */

/* Does the op attend to the positions of a cache? */
static inline bool snl_op_attends(const SnlOp *op)
{
    return op->code == SNL_OP_ATTENTION || op->code == SNL_OP_ATTENTION_PARTS;
}

/* Result types of `op` from its operands, symbols and attributes. Reports E02xx and fails when they
 * do not fit. out_types has room for snl_op_result_count(op) entries. */
SnlStatus snl_op_infer(const SnlOp *op, SnlDiag *diag, const SnlType **out_types);
size_t snl_op_result_count(const SnlOp *op);
SnlStatus snl_verify(const SnlModule *m, SnlDiag *diag);

/* ---- text (ir/parse.c, ir/print.c, ir/dot.c) ------------------------------------------------- */

/* Parses and verifies. `source` must outlive the module. */
SnlStatus snl_parse(SnlArena *arena, const SnlSource *source, SnlDiag *diag,
                    SnlModule **out_module);
void snl_print(const SnlModule *m, FILE *out);
void snl_print_func(const SnlFunc *func, FILE *out);
void snl_print_op(const SnlOp *op, FILE *out); /* one line without newline */
void snl_print_type(const SnlType *type, FILE *out);
char *snl_type_text(SnlArena *arena, const SnlType *type);
char *snl_print_to_string(SnlArena *arena, const SnlModule *m);
void snl_print_dot(const SnlFunc *func, FILE *out);

#endif
