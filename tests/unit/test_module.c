/* Modules: declarations and their names, attributes, functions, cloning. */
#include "tests/support/support.h"

#include "ir/ir.h"

#include <string.h>

static SnlModule *new_module(Support *s)
{
    return snl_module_create(s->arena, "m");
}

static const SnlType *vector(SnlModule *m, int64_t n)
{
    return snl_type(m, SNL_F32, 1, &n);
}

static void declarations_are_found(void **state)
{
    Support *s = *state;
    SnlModule *m = new_module(s);
    for (int i = 0; i < 1000; i++) {
        const char *name = snl_arena_printf(s->arena, "l%d.w", i);
        SnlWeight *w = snl_weight_source(m, name, vector(m, 4), "file", name);
        assert_int_equal(w->id, i);
        assert_string_equal(w->tensor, name);
    }
    SnlState *kv = snl_module_state(m, "kv.0", vector(m, 8));
    assert_int_equal(m->weights.n, 1000);
    assert_ptr_equal(snl_module_find_weight(m, "l999.w"), m->weights.at[999]);
    assert_ptr_equal(snl_module_find_weight(m, "l0.w"), m->weights.at[0]);
    assert_null(snl_module_find_weight(m, "l1000.w"));
    assert_null(snl_module_find_weight(m, "kv.0"));
    assert_ptr_equal(snl_module_find_state(m, "kv.0"), kv);
    assert_null(snl_module_find_state(m, "kv"));
    assert_null(snl_module_find_func(m, "l0.w"));
}

static void an_empty_module_finds_nothing(void **state)
{
    Support *s = *state;
    SnlModule *m = new_module(s);
    assert_null(snl_module_find_weight(m, ""));
    assert_null(snl_module_find_func(m, "f"));
}

static void expressions_keep_their_arguments(void **state)
{
    Support *s = *state;
    SnlModule *m = new_module(s);
    SnlWeight *arg[] = {snl_weight_expr(m, "a", vector(m, 1), SNL_WEXPR_FILL, NULL, 0),
                        snl_weight_expr(m, "b", vector(m, 2), SNL_WEXPR_FILL, NULL, 0)};
    SnlWeight *c = snl_weight_expr(m, "c", vector(m, 3), SNL_WEXPR_CONCAT, arg, 2);
    SnlWeight *a = arg[0];
    arg[0] = NULL;
    assert_ptr_equal(c->arg[0], a);
    assert_int_equal(c->n_arg, 2);
}

static void fresh_weight_names(void **state)
{
    Support *s = *state;
    SnlModule *m = new_module(s);
    assert_string_equal(snl_module_fresh_weight_name(m, "w"), "w");
    snl_weight_expr(m, "w", vector(m, 1), SNL_WEXPR_FILL, NULL, 0);
    snl_weight_expr(m, "w.1", vector(m, 1), SNL_WEXPR_FILL, NULL, 0);
    const char *name = snl_module_fresh_weight_name(m, "w");
    assert_string_equal(name, "w.2");
    snl_weight_expr(m, name, vector(m, 1), SNL_WEXPR_FILL, NULL, 0);
    assert_string_equal(snl_module_fresh_weight_name(m, "w"), "w.3");
}

static void attributes_are_sorted(void **state)
{
    Support *s = *state;
    SnlModule *m = new_module(s);
    snl_attr_set_int(m, &m->attrs, "heads", 4);
    snl_attr_set_real(m, &m->attrs, "eps", 1e-5);
    snl_attr_set_flag(m, &m->attrs, "reduce");
    snl_attr_set_word(m, &m->attrs, "init", "h0");
    snl_attr_set_string(m, &m->attrs, "family", "llama");
    snl_attr_set_int(m, &m->attrs, "heads", 8);
    assert_int_equal(m->attrs.n, 5);
    for (size_t i = 1; i < m->attrs.n; i++)
        assert_true(strcmp(m->attrs.at[i - 1].key, m->attrs.at[i].key) < 0);
    assert_int_equal(snl_attr_int(&m->attrs, "heads", 0), 8);
    assert_close(snl_attr_real(&m->attrs, "heads", 0), 8, 0, 0);
    assert_close(snl_attr_real(&m->attrs, "eps", 0), 1e-5, 0, 0);
    assert_true(snl_attr_flag(&m->attrs, "reduce"));
    assert_string_equal(snl_attr_text(&m->attrs, "init", ""), "h0");
    assert_string_equal(snl_attr_text(&m->attrs, "family", ""), "llama");
    snl_attr_remove(&m->attrs, "init");
    snl_attr_remove(&m->attrs, "init");
    assert_null(snl_attr_find(&m->attrs, "init"));
    assert_int_equal(m->attrs.n, 4);
}

static void attributes_of_another_kind_give_the_default(void **state)
{
    Support *s = *state;
    SnlModule *m = new_module(s);
    snl_attr_set_real(m, &m->attrs, "eps", 2);
    assert_int_equal(snl_attr_int(&m->attrs, "eps", 7), 7);
    assert_int_equal(snl_attr_int(&m->attrs, "none", 7), 7);
    assert_false(snl_attr_flag(&m->attrs, "eps"));
    assert_string_equal(snl_attr_text(&m->attrs, "eps", "d"), "d");
    assert_close(snl_attr_real(&m->attrs, "none", 3), 3, 0, 0);
}

static void attribute_lists(void **state)
{
    Support *s = *state;
    SnlModule *m = new_module(s);
    SnlAttrValue item[] = {{.kind = SNL_ATTR_INT, .i = 5}, {.kind = SNL_ATTR_INT, .i = 6}};
    snl_attr_set(m, &m->attrs, "window", (SnlAttrValue){.kind = SNL_ATTR_LIST, .list = {item, 2}});
    snl_attr_set_int(m, &m->attrs, "at", 3);
    assert_int_equal(snl_attr_int_at(&m->attrs, "window", 1, 0), 6);
    assert_int_equal(snl_attr_int_at(&m->attrs, "window", 2, -1), -1);
    assert_int_equal(snl_attr_int_at(&m->attrs, "at", 9, 0), 3);
    assert_int_equal(snl_attr_int_at(&m->attrs, "none", 0, -1), -1);
}

static void attributes_compare_and_copy(void **state)
{
    Support *s = *state;
    SnlModule *m = new_module(s);
    SnlAttrs a = {0}, b = {0};
    assert_true(snl_attrs_equal(&a, &b));
    snl_attr_set_real(m, &a, "x", 0.0);
    assert_false(snl_attrs_equal(&a, &b));
    snl_attr_set_real(m, &b, "x", -0.0);
    assert_false(snl_attrs_equal(&a, &b));
    snl_attr_set_int(m, &b, "x", 0);
    assert_false(snl_attrs_equal(&a, &b));
    b = snl_attrs_copy(m, &a);
    assert_true(snl_attrs_equal(&a, &b));
    snl_attr_set_int(m, &b, "y", 1);
    snl_attr_set_word(m, &b, "x", "w");
    assert_close(snl_attr_real(&a, "x", 1), 0, 0, 0);
    assert_int_equal(a.n, 1);
}

static void functions_are_ordered(void **state)
{
    Support *s = *state;
    SnlModule *m = new_module(s);
    SnlFunc *a = snl_func_create(m, SNL_LAYER, "a"), *b = snl_func_create(m, SNL_LAYER, "b");
    SnlFunc *c = snl_func_create(m, SNL_FUNC, "c");
    snl_func_move(c, a);
    assert_true(m->first == c && c->next == a && a->next == b && m->last == b && !b->next);
    assert_true(!c->prev && a->prev == c && b->prev == a);
    snl_func_move(c, NULL);
    assert_true(m->first == a && m->last == c && b->next == c && !a->prev && !c->next);
    snl_func_move(c, c);
    snl_func_remove(b);
    assert_true(a->next == c && c->prev == a);
    assert_null(snl_module_find_func(m, "b"));
    assert_ptr_equal(snl_module_find_func(m, "c"), c);
    b = snl_func_create(m, SNL_LAYER, "b");
    assert_ptr_equal(m->last, b);
    snl_func_remove(a);
    snl_func_remove(b);
    snl_func_remove(c);
    assert_true(!m->first && !m->last);
}

static void signatures(void **state)
{
    Support *s = *state;
    SnlModule *m = new_module(s);
    SnlFunc *f = snl_func_create(m, SNL_LAYER, "f");
    for (int i = 0; i < 6; i++) {
        SnlValue *p = snl_func_param(f, "h", snl_type_rows(m, 4));
        assert_int_equal(p->id, i);
        assert_null(p->def);
    }
    snl_func_state_param(f, "kv");
    SnlState *second = snl_func_state_param(f, "row");
    snl_func_result(f, snl_type_rows(m, 4));
    assert_int_equal(f->n_param, 6);
    assert_string_equal(f->param[0]->name, "h");
    assert_string_equal(f->param[5]->name, "h.5");
    assert_int_equal(second->id, 1);
    assert_null(second->type);
    assert_int_equal(f->n_result, 1);
}

/* A layer with a state, a bound layer and a two-member weight, cloned. */
static void clones_are_deep(void **state)
{
    Support *s = *state;
    SnlModule *m = new_module(s);
    const SnlType *row = snl_type_rows(m, 4);
    SnlWeight *w[] = {snl_weight_expr(m, "w0", vector(m, 4), SNL_WEXPR_FILL, NULL, 0),
                      snl_weight_expr(m, "w1", vector(m, 4), SNL_WEXPR_FILL, NULL, 0)};
    SnlState *global = snl_module_state(m, "g", vector(m, 4));
    SnlFunc *f = snl_func_create(m, SNL_LAYER, "f");
    SnlValue *h = snl_func_param(f, "h", row), *pos = snl_func_param(f, "pos", snl_type_index(m));
    SnlState *kv = snl_func_state_param(f, "kv");
    snl_func_result(f, row);
    SnlOp *norm = snl_op_create(f, NULL, SNL_OP_RMS_NORM);
    snl_op_add_in(norm, h);
    snl_op_set_weights(norm, 0, w, 2, true);
    snl_attr_set_real(m, &norm->attrs, "eps", 1e-5);
    SnlValue *n = snl_op_add_out(norm, "n", row);
    SnlOp *write = snl_op_create(f, NULL, SNL_OP_KV_WRITE);
    snl_op_set_ins(write, (SnlValue *[]){n, n, pos}, 3);
    snl_op_set_states(write, 0, (SnlState *[]){kv, global}, 2, true);
    SnlOp *call = snl_op_create(f, NULL, SNL_OP_CALL);
    snl_op_set_ins(call, (SnlValue *[]){n, pos}, 2);
    snl_op_set_bindings(call, 0, &(SnlBinding){f, &kv, 1}, 1, true);
    SnlValue *y = snl_op_add_out(call, "y", row);
    snl_op_add_in(snl_op_create(f, NULL, SNL_OP_RETURN), y);

    SnlFunc *g = snl_func_clone(f, "g");
    assert_ptr_equal(m->last, g);
    assert_int_equal(g->n_values, f->n_values);
    assert_ptr_not_equal(g->param[0], h);
    assert_string_equal(g->param[0]->name, "h");
    assert_ptr_equal(snl_in(g->first, 0), g->param[0]);
    assert_string_equal(g->first->out[0]->name, "n");
    assert_ptr_equal(snl_op_weight(g->first, 1), w[1]);
    assert_true(g->first->sym[0].list);
    snl_attr_set_int(m, &g->first->attrs, "eps", 3);
    assert_close(snl_attr_real(&norm->attrs, "eps", 0), 1e-5, 0, 0);
    const SnlOp *write2 = g->first->next;
    assert_ptr_equal(write2->sym[0].state[0], g->state_param[0]);
    assert_ptr_equal(write2->sym[0].state[1], global);
    assert_ptr_equal(write->sym[0].state[0], kv);
    assert_ptr_equal(write2->next->sym[0].bind[0].state[0], g->state_param[0]);
    assert_ptr_equal(call->sym[0].bind[0].state[0], kv);
    assert_int_equal(g->last->code, SNL_OP_RETURN);
    assert_int_equal(snl_value_use_count(h), 1);
    assert_int_equal(snl_value_use_count(n), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_test(declarations_are_found),
        support_test(an_empty_module_finds_nothing),
        support_test(expressions_keep_their_arguments),
        support_test(fresh_weight_names),
        support_test(attributes_are_sorted),
        support_test(attributes_of_another_kind_give_the_default),
        support_test(attribute_lists),
        support_test(attributes_compare_and_copy),
        support_test(functions_are_ordered),
        support_test(signatures),
        support_test(clones_are_deep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
