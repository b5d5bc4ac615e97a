/*
 * The CNI plugin "weft": hands its environment and standard input to the node daemon, prints the daemon's answer.
 *
 * It is C, and does nothing else, because a runtime starts it for every container: 0.1 ms (with bare.c in place of the C
 * library) instead of a script's 50.
 * The frame is described in networking/node/cni-frame.ts. client.mjs does the same where there is no compiler; both pass
 * test/conformance/cni-client.test.ts.
 *
 * Started as "weft-ipam" it gives addresses only, to another plugin that makes the interface: it then tells the daemon so
 * by the variable WEFT_CNI_PLUGIN.
 *
 * Socket: key "socket" at the top level of the configuration, else of its "ipam", else the environment's WEFT_CNI_SOCKET,
 * else the default.
 * Without a daemon: ADD, CHECK, GC say "try again later" (11); STATUS says 50; DEL is kept in cni-del-queue/ beside the
 * socket for the daemon's next start, and succeeds.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "text.h"

#define DEFAULT_SOCKET "/run/weft/net.sock"
#define FRAME_LIMIT (1u << 20)
#define ANSWER_LIMIT (16u << 20)
/* Longer than any call takes: a daemon that hangs must not hang the runtime for ever. */
#define ANSWER_TIMEOUT_SECONDS 60

extern char **environ;

enum { CODE_ENVIRONMENT = 4, CODE_IO = 5, CODE_DECODE = 6, CODE_TRY_AGAIN = 11, CODE_UNAVAILABLE = 50 };

/* Frame: u32 length, u32 environment length, NAME=VALUE NUL ..., standard input. */
static unsigned char frame[8 + FRAME_LIMIT + 2];
static size_t frame_length;
static unsigned char answer[5 + ANSWER_LIMIT + 1];
static const char *input = "";
static size_t input_length;

/* How `weft cni` knows a file of ours. */
__attribute__((used)) static const char marker[] = "weft-cni-plugin-marker";

static char version[33] = "1.1.0";
static char socket_path[4096] = DEFAULT_SOCKET;

static const char *env(const char *name)
{
	const char *value = getenv(name);
	return value ? value : "";
}

static void put_u32(unsigned char *at, uint32_t value)
{
	at[0] = value >> 24;
	at[1] = value >> 16;
	at[2] = value >> 8;
	at[3] = value;
}

static int write_all(int fd, const void *bytes, size_t length)
{
	const unsigned char *at = bytes;
	while (length > 0) {
		ssize_t sent = write(fd, at, length);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return -1;
		at += sent;
		length -= sent;
	}
	return 0;
}

static int print(const char *text)
{
	return write_all(1, text, strlen(text));
}

/* CNI SPEC.md, section "Error". */
static int fail(int code, const char *message, const char *detail)
{
	static char text[12000];
	append(text, sizeof text, "{\"cniVersion\":");
	append_json_text(text, sizeof text, version);
	append(text, sizeof text, ",\"code\":");
	append_number(text, sizeof text, code, 1);
	append(text, sizeof text, ",\"msg\":");
	append_json_text(text, sizeof text, message);
	if (detail) {
		append(text, sizeof text, ",\"details\":");
		append_json_text(text, sizeof text, detail);
	}
	append(text, sizeof text, "}\n");
	print(text);
	return 1;
}

/*
 * The few things the client itself needs of the configuration: a scan that knows strings and nesting. Anything odd
 * leaves the defaults; the daemon then parses properly and says what is wrong.
 */
static const char *end_of_string(const char *at, const char *end)
{
	for (; at < end; at++) {
		if (*at == '\\')
			at++;
		else if (*at == '"')
			return at;
	}
	return NULL;
}

static const char *skip_space(const char *at, const char *end)
{
	while (at < end && strchr(" \t\r\n", *at) && *at)
		at++;
	return at;
}

static void keep_value(const char *from, const char *to, char *out, size_t size)
{
	char text[4096];
	size_t length = 0;
	for (const char *at = from; at < to; at++) {
		if (*at == '\\' && (at + 1 >= to || !strchr("\"\\/", *++at)))
			return;
		if (length + 1 >= sizeof text || (unsigned char)*at < 0x20)
			return;
		text[length++] = *at;
	}
	if (length == 0 || length >= size)
		return;
	memcpy(out, text, length);
	out[length] = 0;
}

static void scan_config(void)
{
	const char *end = input + input_length;
	int depth = 0, in_ipam = 0, socket_found = 0;
	for (const char *at = input; at < end; at++) {
		if (*at == '{' || *at == '[')
			depth++;
		else if (*at == '}' || *at == ']')
			depth--;
		if (*at != '"')
			continue;
		const char *key = at + 1;
		const char *key_end = end_of_string(key, end);
		if (!key_end)
			return;
		at = key_end;
		const char *next = skip_space(key_end + 1, end);
		if (depth < 1 || depth > 1 + in_ipam || next >= end || *next != ':')
			continue;
		next = skip_space(next + 1, end);
		if (depth == 1)
			in_ipam = key_end - key == 4 && !memcmp(key, "ipam", 4) && next < end && *next == '{';
		if (next >= end || *next != '"')
			continue;
		const char *value_end = end_of_string(next + 1, end);
		if (!value_end)
			return;
		if (depth == 1 && key_end - key == 10 && !memcmp(key, "cniVersion", 10))
			keep_value(next + 1, value_end, version, sizeof version);
		if (key_end - key == 6 && !memcmp(key, "socket", 6) && (depth == 1 || !socket_found)) {
			keep_value(next + 1, value_end, socket_path, sizeof socket_path);
			socket_found |= depth == 1;
		}
		at = value_end;
	}
}

/* Only what concerns us: the runtime's other variables may be secret, and large. */
static int is_ours(const char *variable)
{
	if (!strncmp(variable, "WEFT_CNI_PLUGIN=", 16))
		return 0;
	return !strncmp(variable, "CNI_", 4) || !strncmp(variable, "WEFT_", 5);
}

/* Appends one variable to the frame. Returns 0, or -1 with errno E2BIG. */
static int put_variable(size_t *length, const char *variable)
{
	size_t size = strlen(variable) + 1;
	if (*length + size > FRAME_LIMIT) {
		errno = E2BIG;
		return -1;
	}
	memcpy(frame + *length, variable, size);
	*length += size;
	return 0;
}

static int is_ipam(const char *program)
{
	const char *slash = program ? strrchr(program, '/') : NULL;
	return program && !strcmp(slash ? slash + 1 : program, "weft-ipam");
}

/* Returns 0, or -1 with errno (E2BIG: too long). */
static int read_request(const char *program)
{
	size_t length = 8;
	for (char **variable = environ; *variable; variable++)
		if (is_ours(*variable) && put_variable(&length, *variable) < 0)
			return -1;
	if (is_ipam(program) && put_variable(&length, "WEFT_CNI_PLUGIN=weft-ipam") < 0)
		return -1;
	put_u32(frame + 4, length - 8);
	input = (const char *)frame + length;
	for (;;) {
		ssize_t got = read(0, frame + length, sizeof frame - length);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno != EBADF)
			return -1;
		if (got <= 0)
			break;
		length += got;
		if (length - 4 > FRAME_LIMIT) {
			errno = E2BIG;
			return -1;
		}
	}
	input_length = (const char *)frame + length - input;
	frame_length = length;
	put_u32(frame, length - 4);
	return 0;
}

/* Reads on until there are `wanted` octets of the answer. Returns how many there are, or -1 with errno. */
static ssize_t read_until(int fd, size_t have, size_t wanted)
{
	while (have < wanted) {
		ssize_t got = read(fd, answer + have, sizeof answer - have);
		if (got < 0 && errno == EINTR)
			continue;
		if (got == 0)
			errno = ECONNRESET;
		if (got <= 0)
			return -1;
		have += got;
	}
	return have;
}

static int connect_daemon(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval timeout = { .tv_sec = ANSWER_TIMEOUT_SECONDS };
	if (strlen(socket_path) >= sizeof address.sun_path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(address.sun_path, socket_path, strlen(socket_path) + 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
	if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
		return fd;
	int reason = errno;
	close(fd);
	errno = reason;
	return -1;
}

/* Returns the daemon's exit code with its answer printed, or -1 with errno when there is no whole answer. */
static int ask_daemon(void)
{
	int code = -1;
	int fd = connect_daemon();
	if (fd < 0)
		return -1;
	/* A daemon that refuses the frame may close before it is all sent; its answer says why. */
	write_all(fd, frame, frame_length);
	ssize_t have = read_until(fd, 0, 5);
	if (have >= 0) {
		size_t length = (size_t)answer[0] << 24 | answer[1] << 16 | answer[2] << 8 | answer[3];
		length -= length > 0;
		if (length > ANSWER_LIMIT)
			errno = EMSGSIZE;
		else if (read_until(fd, have, 5 + length) >= 0)
			code = answer[4];
		if (code >= 0 && write_all(1, answer + 5, length) < 0)
			code = 1;
	}
	int reason = errno;
	close(fd);
	errno = reason;
	return code;
}

/* Makes the folder, and the one above it: the daemon may never have run. */
static int make_queue(char *directory, size_t size)
{
	char *slash = strrchr(socket_path, '/');
	if (!slash || slash == socket_path) {
		errno = EINVAL;
		return -1;
	}
	size_t length = slash - socket_path;
	if (length + 16 >= size) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(directory, socket_path, length);
	directory[length] = 0;
	if (mkdir(directory, 0700) < 0 && errno != EEXIST)
		return -1;
	append(directory, size, "/cni-del-queue");
	return mkdir(directory, 0700) < 0 && errno != EEXIST ? -1 : 0;
}

static int sync_directory(const char *directory)
{
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int outcome = fd < 0 ? -1 : fsync(fd);
	if (fd >= 0)
		close(fd);
	return outcome;
}

/* Writes the request durably; `path` is where it then is. */
static int queue_request(char *path, size_t size)
{
	char directory[4200], temporary[4400] = "";
	struct timespec now;
	if (make_queue(directory, sizeof directory) < 0)
		return -1;
	clock_gettime(CLOCK_REALTIME, &now);
	/* Names sort by time. */
	append(path, size, directory);
	append(path, size, "/");
	append_number(path, size, now.tv_sec, 20);
	append_number(path, size, now.tv_nsec, 9);
	append(path, size, "-");
	append_number(path, size, getpid(), 1);
	append(path, size, ".del");
	append(temporary, sizeof temporary, directory);
	append(temporary, sizeof temporary, "/.new-");
	append_number(temporary, sizeof temporary, getpid(), 1);
	int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	int outcome = write_all(fd, frame + 4, frame_length - 4) == 0 && fsync(fd) == 0 ? 0 : -1;
	int reason = errno;
	close(fd);
	if (outcome == 0) {
		outcome = rename(temporary, path);
		reason = errno;
	}
	if (outcome == 0)
		return sync_directory(directory);
	unlink(temporary);
	errno = reason;
	return -1;
}

/* DEL must succeed without a daemon, or the runtime could never forget the container. */
static int delete_later(const char *why)
{
	char path[4400] = "";
	if (queue_request(path, sizeof path) < 0) {
		char detail[256] = "queue: ";
		append(detail, sizeof detail, strerror(errno));
		append(detail, sizeof detail, "; daemon: ");
		append(detail, sizeof detail, why);
		return fail(CODE_IO, "the Weft node daemon does not answer, and DEL cannot be kept for it: start `weft net`", detail);
	}
	/* The daemon may have started, and read the queue, between the two. */
	int code = ask_daemon();
	if (code < 0)
		return 0;
	unlink(path);
	return code;
}

static int without_daemon(const char *command, int reason)
{
	char detail[4500] = "";
	append(detail, sizeof detail, socket_path);
	append(detail, sizeof detail, ": ");
	append(detail, sizeof detail, strerror(reason));
	if (!strcmp(command, "DEL"))
		return delete_later(strerror(reason));
	if (!strcmp(command, "STATUS"))
		return fail(CODE_UNAVAILABLE, "the Weft node daemon does not answer: start `weft net` on this machine", detail);
	return fail(CODE_TRY_AGAIN, "the Weft node daemon does not answer: start `weft net` on this machine, then try again", detail);
}

int main(int argc, char **argv)
{
	const char *command = env("CNI_COMMAND");
	signal(SIGPIPE, SIG_IGN);
	if (!*command)
		return fail(CODE_ENVIRONMENT, "CNI_COMMAND is missing: this is a CNI plugin, to be started by a container runtime", NULL);
	if (*env("WEFT_CNI_SOCKET") && strlen(env("WEFT_CNI_SOCKET")) < sizeof socket_path)
		memcpy(socket_path, env("WEFT_CNI_SOCKET"), strlen(env("WEFT_CNI_SOCKET")) + 1);
	int outcome = read_request(argc > 0 ? argv[0] : NULL);
	int reason = errno;
	if (!strcmp(command, "VERSION")) {
		scan_config();
		static char text[300] = "{\"cniVersion\":";
		append_json_text(text, sizeof text, version);
		append(text, sizeof text, ",\"supportedVersions\":[\"0.1.0\",\"0.2.0\",\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}\n");
		return print(text) < 0;
	}
	if (outcome < 0 && reason == E2BIG)
		return fail(CODE_DECODE, "environment and configuration together have more than 1 MiB", NULL);
	if (outcome < 0)
		return fail(CODE_IO, "cannot read the configuration from standard input", strerror(reason));
	scan_config();
	int code = ask_daemon();
	return code < 0 ? without_daemon(command, errno) : code;
}
