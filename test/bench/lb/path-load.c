// path-load server PORT | path-load client ADDRESS PORT MILLISECONDS: one connection after another, an octet there and back
// on each, ended by a reset so that no port waits. The client prints how many there were, and the median and 99th
// percentile in microseconds, from connect to answer.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

static int serve(int port) {
  int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
  char octet;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, (void *)&at, sizeof at) || listen(fd, 1024)) return 1;
  puts("ready");
  fflush(stdout);
  for (;;) {
    int one = accept(fd, 0, 0);
    if (one < 0) continue;
    setsockopt(one, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    while (read(one, &octet, 1) == 1 && write(one, &octet, 1) == 1) {}
    close(one);
  }
}

static int load(const char *address, int port, double micros) {
  static float times[1 << 20];
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
  struct linger reset = {.l_onoff = 1};
  double start = now();
  int count = 0, failed = 0;
  inet_pton(AF_INET, address, &at.sin_addr);
  while (now() - start < micros && count < 1 << 20) {
    char octet = 'x';
    double begun = now();
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    if (connect(fd, (void *)&at, sizeof at) || write(fd, &octet, 1) != 1 || read(fd, &octet, 1) != 1) failed++;
    else times[count++] = now() - begun;
    close(fd);
    if (failed > 1000) return 1;
  }
  double seconds = (now() - start) / 1e6;
  qsort(times, count, sizeof *times, compare);
  printf("{\"rate\":%f,\"p50\":%f,\"p99\":%f,\"failed\":%d}\n", count / seconds, times[count / 2],
         times[(int)(count * 0.99)], failed);
  return 0;
}

int main(int count, char **words) {
  if (count == 3 && !strcmp(words[1], "server")) return serve(atoi(words[2]));
  if (count == 5 && !strcmp(words[1], "client")) return load(words[2], atoi(words[3]), atof(words[4]) * 1e3);
  return 2;
}
