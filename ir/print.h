/* ir/print.h -- what print.c shares with the verifier and dot.c. Private to ir/. */
#ifndef SNL_IR_PRINT_H
#define SNL_IR_PRINT_H

#include <stdio.h>

/* The shortest form that reads back as the same number, always recognisable as a real. */
void snl_print_real(double r, FILE *out);

#endif
