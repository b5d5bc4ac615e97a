// Preloaded into UML kernels before 6.13 (Debian's 6.1) on processors with AMX: the machine's kernel sets extended
// registers only from a whole XSAVE area, and those kernels hand over a shorter one. Remembers the area's true size from
// what it reads, and pads what is written; the tile state (XFEATURE 17, 18) is marked as absent.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

enum { AREA_BYTES = 1 << 16, XSTATE_BV = 512 };
static const unsigned long TILES = 3UL << 17;
typedef long (*ptrace_call)(enum __ptrace_request, long, void *, void *);
static unsigned char area[AREA_BYTES] __attribute__((aligned(64)));
static size_t area_bytes;

static long get_whole(ptrace_call call, long pid, void *kind) {
  struct iovec whole = {area, sizeof area};
  long result = call(PTRACE_GETREGSET, pid, kind, &whole);
  if (result == 0) area_bytes = whole.iov_len;
  return result;
}

long ptrace(enum __ptrace_request request, ...) {
  ptrace_call call = (ptrace_call)dlsym(RTLD_NEXT, "ptrace");
  va_list list;
  va_start(list, request);
  long pid = va_arg(list, long);
  void *kind = va_arg(list, void *), *data = va_arg(list, void *);
  va_end(list);
  int gets = request == PTRACE_GETREGSET, sets = request == PTRACE_SETREGSET;
  if ((!gets && !sets) || (long)kind != NT_X86_XSTATE) return call(request, pid, kind, data);

  struct iovec *given = data;
  if (gets || area_bytes == 0) {
    long result = get_whole(call, pid, kind);
    if (result != 0) return result;
  }
  if (given->iov_len > area_bytes) given->iov_len = area_bytes;
  if (gets) {
    memcpy(given->iov_base, area, given->iov_len);
    return 0;
  }
  memset(area, 0, area_bytes);
  memcpy(area, given->iov_base, given->iov_len);
  unsigned long present;
  memcpy(&present, area + XSTATE_BV, sizeof present);
  present &= ~TILES;
  memcpy(area + XSTATE_BV, &present, sizeof present);
  struct iovec whole = {area, area_bytes};
  return call(PTRACE_SETREGSET, pid, kind, &whole);
}
