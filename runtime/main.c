/* runtime/main.c -- entry of the emitted program: everything is in program.c, so that it can be
 * tested. */
#include "runtime/abi.h"
#include "runtime/program.h"

extern const SnlrtModel snlrt_model; /* emitted by codegen */

int main(int argc, char **argv)
{
    return snlrt_program_main(&snlrt_model, argc, argv);
}
