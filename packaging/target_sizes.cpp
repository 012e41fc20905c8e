// Compiles if this pyconfig.h, of the Python that runs here, is true of the machine that the compiler makes code for. A
// Python of the same version there differs in nothing else that an extension module sees.
#include <Python.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/types.h>
#include <time.h>

#define SAME(size, type) static_assert(size == sizeof(type), "pyconfig.h is of another kind of machine")
SAME(SIZEOF__BOOL, bool);
SAME(SIZEOF_SHORT, short);
SAME(SIZEOF_INT, int);
SAME(SIZEOF_LONG, long);
SAME(SIZEOF_LONG_LONG, long long);
SAME(SIZEOF_FLOAT, float);
SAME(SIZEOF_DOUBLE, double);
SAME(SIZEOF_LONG_DOUBLE, long double);
SAME(SIZEOF_VOID_P, void*);
SAME(SIZEOF_SIZE_T, size_t);
SAME(SIZEOF_UINTPTR_T, uintptr_t);
SAME(SIZEOF_WCHAR_T, wchar_t);
SAME(SIZEOF_TIME_T, time_t);
SAME(SIZEOF_OFF_T, off_t);
SAME(SIZEOF_FPOS_T, fpos_t);
SAME(SIZEOF_PID_T, pid_t);
SAME(SIZEOF_PTHREAD_T, pthread_t);
SAME(ALIGNOF_SIZE_T, size_t);

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "");
#ifdef WORDS_BIGENDIAN
#error "pyconfig.h is of a big-endian machine"
#endif
