/* compiler/driver/eval_report.h -- the numbers of `snlpc eval` as a table or as JSON. */
#ifndef SNL_DRIVER_EVAL_REPORT_H
#define SNL_DRIVER_EVAL_REPORT_H

#include "compiler/driver/eval_measure.h"

typedef struct SnlEvalReport {
    const SnlEvalProgram *program;
    const SnlEvalText *text;
    const SnlEvalResult *results; /* one for each graph */
    const char *text_path;
    bool skip_half;
} SnlEvalReport;

/* Graph 0 is the sequential one; it is printed first. */
void snl_eval_print_table(FILE *out, const SnlEvalReport *report);
void snl_eval_print_json(FILE *out, const SnlEvalReport *report);

/* A JSON string with its quotes. */
void snl_json_string(FILE *out, const char *text);

#endif
