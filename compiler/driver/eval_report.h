/* compiler/driver/eval_report.h -- the numbers of `snlpc eval` as a table or as JSON. */
#ifndef SNL_DRIVER_EVAL_REPORT_H
#define SNL_DRIVER_EVAL_REPORT_H

#include "compiler/driver/eval_measure.h"

typedef struct SnlEvalReport {
    const SnlEvalSet *set;
    const SnlEvalText *text;
    const SnlEvalResult *results; /* one for each row */
    const char *text_path;
    bool skip_half;
} SnlEvalReport;

/* Memory that the caches of each row take, a line for each. */
void snl_eval_print_caches(FILE *out, const SnlEvalSet *set);
/* Row 0 is what the others are compared with. */
void snl_eval_print_table(FILE *out, const SnlEvalReport *report);
void snl_eval_print_json(FILE *out, const SnlEvalReport *report);

/* A JSON string with its quotes. */
void snl_json_string(FILE *out, const char *text);

#endif
