/* Operations: the table, use lists, names, cloning, erasing, moving, numbering. */
#include "tests/support/support.h"

#include "ir/ir.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct Fixture {
    SnlModule *m;
    SnlFunc *f;
    const SnlType *row;
    SnlValue *x, *y;
} Fixture;

static Fixture new_func(Support *s)
{
    Fixture t = {.m = snl_module_create(s->arena, "m")};
    t.f = snl_func_create(t.m, SNL_FUNC, "f");
    t.row = snl_type_rows(t.m, 8);
    t.x = snl_func_param(t.f, "x", t.row);
    t.y = snl_func_param(t.f, "y", t.row);
    return t;
}

static SnlOp *unary(Fixture *t, SnlValue *in, const char *name)
{
    SnlOp *op = snl_op_create(t->f, NULL, SNL_OP_SILU);
    snl_op_add_in(op, in);
    snl_op_add_out(op, name, t->row);
    return op;
}

/* Every use is linked where it says, and belongs to an operand of its user. */
static size_t checked_uses(const SnlValue *value)
{
    size_t n = 0;
    SnlUse *const *link = &value->uses;
    for (const SnlUse *use = value->uses; use; use = use->next, n++) {
        assert_ptr_equal(use->value, value);
        assert_ptr_equal(use->link, link);
        assert_true(use >= use->user->in && use < use->user->in + use->user->n_in);
        link = &use->next;
    }
    return n;
}

static void the_table(void **state)
{
    (void)state;
    SnlOpCode found;
    for (int code = 0; code < SNL_OP_COUNT; code++) {
        const SnlOpInfo *info = &snl_op_info[code];
        assert_true(snl_op_find(info->text, strlen(info->text), &found));
        assert_int_equal(found, code);
        assert_true(info->min_in <= info->max_in);
        assert_int_equal(snl_op_group_letter((SnlOpCode)code, SNL_MAX_GROUPS), 0);
    }
    assert_false(snl_op_find("matmul", 6, &found));
    assert_false(snl_op_find("linea", 5, &found));
    assert_int_equal(snl_op_group_letter(SNL_OP_LINEAR, 0), 'w');
    assert_int_equal(snl_op_group_letter(SNL_OP_LINEAR, 1), 'w');
    assert_int_equal(snl_op_group_letter(SNL_OP_LINEAR, 2), 0);
    assert_int_equal(snl_op_group_letter(SNL_OP_RMS_NORM, 0), 'w');
    assert_int_equal(snl_op_group_letter(SNL_OP_RMS_NORM, 1), 0);
    assert_int_equal(snl_op_group_letter(SNL_OP_ATTENTION, 0), 's');
    assert_int_equal(snl_op_group_letter(SNL_OP_CHAIN, 0), 'l');
    assert_int_equal(snl_op_group_letter(SNL_OP_SILU, 0), 0);
    assert_true(snl_op_info[SNL_OP_SILU].flags & SNL_ELTWISE);
    assert_true(snl_op_info[SNL_OP_RETURN].flags & SNL_TERMINATOR);
}

static void use_lists_survive_growing_operands(void **state)
{
    Fixture t = new_func(*state);
    SnlOp *op = snl_op_create(t.f, NULL, SNL_OP_LINCOMB);
    SnlOp *other = snl_op_create(t.f, NULL, SNL_OP_STACK);
    for (size_t i = 0; i < 100; i++) {
        snl_op_add_in(op, i % 3 ? t.x : t.y);
        snl_op_add_in(other, i % 2 ? t.x : t.y);
        assert_int_equal(checked_uses(t.x) + checked_uses(t.y), 2 * (i + 1));
    }
    for (size_t i = 0; i < 100; i++) assert_ptr_equal(snl_in(op, i), i % 3 ? t.x : t.y);
    snl_op_set_in(op, 0, t.x);
    assert_int_equal(checked_uses(t.x), 67 + 50);
    snl_op_set_ins(op, (SnlValue *[]){t.y, t.x, t.y}, 3);
    assert_int_equal(op->n_in, 3);
    assert_int_equal(checked_uses(t.x), 1 + 50);
    assert_int_equal(checked_uses(t.y), 2 + 50);
    snl_op_set_ins(op, NULL, 0);
    assert_int_equal(checked_uses(t.y), 50);
    snl_op_add_in(op, t.y);
    assert_int_equal(checked_uses(t.y), 51);
}

static void replacing_moves_all_uses(void **state)
{
    Fixture t = new_func(*state);
    SnlOp *a = unary(&t, t.x, "a"), *b = unary(&t, t.x, "b");
    SnlOp *mul = snl_op_create(t.f, NULL, SNL_OP_MUL);
    snl_op_set_ins(mul, (SnlValue *[]){t.x, t.x}, 2);
    assert_false(snl_value_single_use(t.x));
    snl_value_replace(t.x, t.y);
    assert_int_equal(checked_uses(t.x), 0);
    assert_int_equal(checked_uses(t.y), 4);
    assert_ptr_equal(snl_in(a, 0), t.y);
    assert_ptr_equal(snl_in(b, 0), t.y);
    assert_ptr_equal(snl_in(mul, 1), t.y);
    snl_op_set_in(b, 0, t.x);
    assert_true(snl_value_single_use(t.x));
    assert_int_equal(snl_value_use_count(t.y), 3);
    assert_false(snl_value_single_use(a->out[0]));
}

static void names_are_unique(void **state)
{
    Fixture t = new_func(*state);
    SnlValue *root = t.x;
    static const char *const asked[] = {"h",  "h", "h.1",   "h.1", "x",   NULL,
                                        NULL, "2", "h.0.g", "h",   "kv.", "kv."};
    static const char *const given[] = {"h", "h.1", "h.2",   "h.3", "x.1", "1",
                                        "2", "3",   "h.0.g", "h.4", "kv.", "kv..1"};
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++)
        assert_string_equal(unary(&t, root, asked[i])->out[0]->name, given[i]);
    SnlFunc *other = snl_func_create(t.m, SNL_FUNC, "g");
    assert_string_equal(snl_func_param(other, "h", t.row)->name, "h");
}

static void erased_names_are_free_again(void **state)
{
    Fixture t = new_func(*state);
    SnlOp *a = unary(&t, t.x, "a");
    snl_op_erase(a);
    assert_int_equal(checked_uses(t.x), 0);
    assert_null(t.f->first);
    assert_string_equal(unary(&t, t.x, "a")->out[0]->name, "a");
}

static void ops_are_ordered(void **state)
{
    Fixture t = new_func(*state);
    SnlOp *a = unary(&t, t.x, "a"), *b = unary(&t, t.x, "b");
    SnlOp *c = snl_op_create(t.f, a, SNL_OP_RETURN);
    assert_true(t.f->first == c && c->next == a && a->next == b && t.f->last == b);
    snl_op_move(c, NULL);
    assert_true(t.f->first == a && t.f->last == c && b->next == c && !c->next && !a->prev);
    snl_op_move(b, a);
    assert_true(t.f->first == b && b->next == a && a->next == c && c->prev == a);
    snl_op_move(b, b);
    snl_op_erase(a);
    assert_true(b->next == c && c->prev == b);
    snl_op_erase(b);
    snl_op_erase(c);
    assert_true(!t.f->first && !t.f->last);
}

static void renumbering_is_dense(void **state)
{
    Fixture t = new_func(*state);
    SnlOp *a = unary(&t, t.x, "a"), *b = unary(&t, t.x, "b"), *c = unary(&t, t.x, "c");
    snl_op_erase(b);
    snl_op_move(c, a);
    snl_func_renumber(t.f);
    assert_int_equal(t.x->id, 0);
    assert_int_equal(t.y->id, 1);
    assert_int_equal(c->out[0]->id, 2);
    assert_int_equal(a->out[0]->id, 3);
    assert_int_equal(t.f->n_values, 4);
}

static void clones_map_operands_and_results(void **state)
{
    Support *s = *state;
    Fixture t = new_func(s);
    SnlOp *a = unary(&t, t.x, "a");
    SnlOp *b = unary(&t, a->out[0], "b");
    snl_attr_set_real(t.m, &b->attrs, "cap", 2);
    SnlFunc *g = snl_func_create(t.m, SNL_FUNC, "g");
    SnlValue **map = SNL_NEW_ARRAY(s->arena, SnlValue *, t.f->n_values);
    map[t.x->id] = snl_func_param(g, "p", t.row);
    SnlOp *a2 = snl_op_clone(a, g, NULL, map), *b2 = snl_op_clone(b, g, NULL, map);
    assert_ptr_equal(snl_in(a2, 0), g->param[0]);
    assert_ptr_equal(snl_in(b2, 0), a2->out[0]);
    assert_ptr_equal(b2->func, g);
    assert_string_equal(b2->out[0]->name, "b");
    assert_true(snl_attrs_equal(&b2->attrs, &b->attrs));
    assert_int_equal(checked_uses(t.x), 1);
    SnlOp *same = snl_op_clone(b, t.f, b, NULL);
    assert_ptr_equal(same->next, b);
    assert_ptr_equal(snl_in(same, 0), a->out[0]);
    assert_string_equal(same->out[0]->name, "b.1");
}

static void symbols_are_copied(void **state)
{
    Fixture t = new_func(*state);
    int64_t dim = 8;
    SnlWeight *w =
        snl_weight_expr(t.m, "w", snl_type(t.m, SNL_F32, 1, &dim), SNL_WEXPR_FILL, NULL, 0);
    SnlWeight *list[] = {w, w};
    SnlOp *op = snl_op_create(t.f, NULL, SNL_OP_LINEAR);
    snl_op_set_weights(op, 0, list, 2, true);
    snl_op_set_weights(op, 1, list, 1, false);
    list[0] = NULL;
    assert_ptr_equal(snl_op_weight(op, 0), w);
    assert_int_equal(op->sym[0].n, 2);
    assert_true(op->sym[0].list);
    assert_int_equal(op->sym[1].n, 1);
    assert_false(op->sym[1].list);
    assert_null(op->sym[0].state);
}

static void finishing_infers_types(void **state)
{
    Fixture t = new_func(*state);
    SnlOp *op = snl_op_create(t.f, NULL, SNL_OP_SILU);
    snl_op_add_in(op, t.x);
    SnlValue *out = snl_op_finish(op, "s");
    assert_ptr_equal(out->type, t.row);
    assert_string_equal(out->name, "s");
    assert_int_equal(op->n_out, 1);
    snl_func_result(t.f, t.row);
    SnlOp *end = snl_op_create(t.f, NULL, SNL_OP_RETURN);
    snl_op_add_in(end, out);
    assert_null(snl_op_finish(end, NULL));
    assert_int_equal(end->n_out, 0);
}

/* What a programmer must not do ends the process. */
static void assert_aborts(Support *s, void (*mistake)(Fixture *))
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        Fixture t = new_func(s);
        if (!freopen("/dev/null", "w", stderr)) _exit(99);
        mistake(&t);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void erase_a_used_op(Fixture *t)
{
    SnlOp *a = unary(t, t->x, "a");
    unary(t, a->out[0], "b");
    snl_op_erase(a);
}

static void declare_twice(Fixture *t)
{
    snl_func_create(t->m, SNL_FUNC, "f");
}

static void set_weights_of_an_op_without(Fixture *t)
{
    snl_op_set_weights(unary(t, t->x, "a"), 0, (SnlWeight *[]){NULL}, 1, false);
}

static void finish_an_invalid_op(Fixture *t)
{
    SnlOp *op = snl_op_create(t->f, NULL, SNL_OP_MUL);
    snl_op_set_ins(op, (SnlValue *[]){t->x, snl_func_param(t->f, "z", snl_type_rows(t->m, 9))}, 2);
    snl_op_finish(op, NULL);
}

static void mistakes_abort(void **state)
{
    assert_aborts(*state, erase_a_used_op);
    assert_aborts(*state, declare_twice);
    assert_aborts(*state, set_weights_of_an_op_without);
    assert_aborts(*state, finish_an_invalid_op);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table),
        support_test(use_lists_survive_growing_operands),
        support_test(replacing_moves_all_uses),
        support_test(names_are_unique),
        support_test(erased_names_are_free_again),
        support_test(ops_are_ordered),
        support_test(renumbering_is_dense),
        support_test(clones_map_operands_and_results),
        support_test(symbols_are_copied),
        support_test(finishing_infers_types),
        support_test(mistakes_abort),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
