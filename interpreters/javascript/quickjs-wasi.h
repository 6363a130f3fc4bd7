/* Included before every C file of QuickJS. QuickJS turns its check for stack overflow off where
 * __wasi__ is defined. The check works well there, on the stack in linear memory, and it makes
 * endless recursion a RangeError and not a trap. The C library's headers need the macro, so they
 * come first. __ANDROID__ then selects <malloc.h> and malloc_usable_size, and nothing else. */
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <fenv.h>
#include <inttypes.h>
#include <limits.h>
#include <malloc.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#undef __wasi__
#define __ANDROID__ 1
