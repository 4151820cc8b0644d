/* Told to the analyzers by scripts/lint: these functions always return -1. */

#include "base/err.h"

#define vd_fail(...) (vd_fail (__VA_ARGS__), -1)
#define vd_fail_errno(...) (vd_fail_errno (__VA_ARGS__), -1)
#define vd_fail_nomem(err) (vd_fail_nomem (err), -1)
