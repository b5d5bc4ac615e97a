/*
 * The few functions of the C library that weft-cni.c uses, on bare system calls, for Linux on x86-64 and arm64. A static
 * program with a whole C library takes three times as long to start: it asks the processor what it can do, instruction by
 * instruction, and each such question leaves a virtual machine. build.mjs links the C library where this does not compile.
 *
 * System call numbers: include/uapi/asm-generic/unistd.h (arm64), arch/x86/entry/syscalls/syscall_64.tbl.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv);
char **environ;

static int last_error;

int *__errno_location(void)
{
	return &last_error;
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall begin\n");

static long raw(long number, long a, long b, long c, long d, long e)
{
	long result;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
	return result;
}
#elif defined(__aarch64__)
__asm__(".globl _start\n_start:\n\tmov x29, #0\n\tmov x0, sp\n\tand sp, x0, #-16\n\tbl begin\n");

static long raw(long number, long a, long b, long c, long d, long e)
{
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
	return x0;
}
#else
#error "bare system calls are known for x86-64 and arm64 only"
#endif

/* What the kernel puts on the stack: argc, argv, NULL, environment, NULL. */
__attribute__((used, noreturn)) void begin(long *stack)
{
	char **argv = (char **)(stack + 1);
	environ = argv + stack[0] + 1;
	int code = main((int)stack[0], argv);
	for (;;)
		raw(SYS_exit_group, code, 0, 0, 0, 0);
}

static long checked(long result)
{
	if (result >= 0)
		return result;
	last_error = (int)-result;
	return -1;
}

ssize_t read(int fd, void *bytes, size_t length)
{
	return checked(raw(SYS_read, fd, (long)bytes, (long)length, 0, 0));
}

ssize_t write(int fd, const void *bytes, size_t length)
{
	return checked(raw(SYS_write, fd, (long)bytes, (long)length, 0, 0));
}

int close(int fd)
{
	return (int)checked(raw(SYS_close, fd, 0, 0, 0, 0));
}

int open(const char *path, int flags, ...)
{
	va_list arguments;
	va_start(arguments, flags);
	long mode = flags & O_CREAT ? va_arg(arguments, unsigned) : 0;
	va_end(arguments);
	return (int)checked(raw(SYS_openat, AT_FDCWD, (long)path, flags, mode, 0));
}

int mkdir(const char *path, mode_t mode)
{
	return (int)checked(raw(SYS_mkdirat, AT_FDCWD, (long)path, (long)mode, 0, 0));
}

int unlink(const char *path)
{
	return (int)checked(raw(SYS_unlinkat, AT_FDCWD, (long)path, 0, 0, 0));
}

int rename(const char *from, const char *to)
{
	return (int)checked(raw(SYS_renameat2, AT_FDCWD, (long)from, AT_FDCWD, (long)to, 0));
}

int fsync(int fd)
{
	return (int)checked(raw(SYS_fsync, fd, 0, 0, 0, 0));
}

int socket(int domain, int type, int protocol)
{
	return (int)checked(raw(SYS_socket, domain, type, protocol, 0, 0));
}

int connect(int fd, __CONST_SOCKADDR_ARG address, socklen_t length)
{
	return (int)checked(raw(SYS_connect, fd, (long)address.__sockaddr__, length, 0, 0));
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
	return (int)checked(raw(SYS_setsockopt, fd, level, name, (long)value, length));
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	return (int)checked(raw(SYS_clock_gettime, clock, (long)now, 0, 0, 0));
}

pid_t getpid(void)
{
	return (pid_t)raw(SYS_getpid, 0, 0, 0, 0, 0);
}

/* SIG_IGN and SIG_DFL only: a handler would need a way back. The kernel's struct: handler, flags, restorer, mask. */
sighandler_t signal(int number, sighandler_t handler)
{
	unsigned long action[4] = { (unsigned long)handler, 0, 0, 0 };
	return checked(raw(SYS_rt_sigaction, number, (long)action, 0, 8, 0)) < 0 ? SIG_ERR : SIG_DFL;
}

size_t strlen(const char *text)
{
	size_t length = 0;
	while (text[length])
		length++;
	return length;
}

int strncmp(const char *a, const char *b, size_t limit)
{
	for (size_t i = 0; i < limit; i++) {
		if (a[i] != b[i])
			return (unsigned char)a[i] - (unsigned char)b[i];
		if (!a[i])
			return 0;
	}
	return 0;
}

int strcmp(const char *a, const char *b)
{
	return strncmp(a, b, (size_t)-1);
}

char *strchr(const char *text, int c)
{
	for (;; text++) {
		if (*text == (char)c)
			return (char *)text;
		if (!*text)
			return NULL;
	}
}

char *strrchr(const char *text, int c)
{
	const char *found = NULL;
	for (;; text++) {
		if (*text == (char)c)
			found = text;
		if (!*text)
			return (char *)found;
	}
}

void *memcpy(void *to, const void *from, size_t length)
{
	for (size_t i = 0; i < length; i++)
		((char *)to)[i] = ((const char *)from)[i];
	return to;
}

void *memset(void *to, int c, size_t length)
{
	for (size_t i = 0; i < length; i++)
		((char *)to)[i] = (char)c;
	return to;
}

int memcmp(const void *a, const void *b, size_t length)
{
	const unsigned char *x = a, *y = b;
	for (size_t i = 0; i < length; i++)
		if (x[i] != y[i])
			return x[i] - y[i];
	return 0;
}

char *getenv(const char *name)
{
	size_t length = strlen(name);
	for (char **variable = environ; *variable; variable++)
		if (!strncmp(*variable, name, length) && (*variable)[length] == '=')
			return *variable + length + 1;
	return NULL;
}

char *strerror(int number)
{
	static const struct { int number; const char *text; } known[] = {
		{ ENOENT, "No such file or directory" }, { ECONNREFUSED, "Connection refused" },
		{ EACCES, "Permission denied" }, { EPERM, "Operation not permitted" },
		{ ECONNRESET, "Connection reset by peer" }, { EAGAIN, "Resource temporarily unavailable" },
		{ ENAMETOOLONG, "File name too long" }, { ENOTDIR, "Not a directory" },
		{ ENOSPC, "No space left on device" }, { EROFS, "Read-only file system" },
	};
	static char other[] = "error number 00000";
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (known[i].number == number)
			return (char *)known[i].text;
	for (char *digit = other + sizeof other - 2; *digit != ' '; digit--, number /= 10)
		*digit = '0' + number % 10;
	return other;
}
