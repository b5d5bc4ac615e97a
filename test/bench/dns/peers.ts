import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestHost } from '../../support/hosts.ts'
import { benchZoneFile, type BenchSize, foreignNames } from './cluster.ts'

/** What is measured: where it answers. */
export interface Contender {
  readonly name: string
  readonly port: number
  readonly pid: number
}

/** True when the program is there. */
export function hasProgram(name: string): boolean {
  return spawnSync('which', [name]).status === 0
}

/** The core that servers run on; the load comes from the other one. */
export const serverCore = '0'

/** Starts a program on the servers' core. */
export function startPinned(host: TestHost, command: string, ...args: readonly string[]) {
  return host.start('taskset', '-c', serverCore, command, ...args)
}

/** knot with the benchmark's names and, for forwarders, `example.test`. */
export function startKnot(host: TestHost, folder: string, size: BenchSize): Contender | undefined {
  if (!hasProgram('knotd')) return undefined
  writeFileSync(join(folder, 'mesos.zone'), benchZoneFile(size))
  const hosts = Array.from({ length: foreignNames }, (_, i) => `n${i} 300 IN A 192.0.2.${i % 250}`).join('\n')
  const soa = '@ 300 IN SOA ns root 1 60 600 86400 60\n@ 300 IN NS ns\nns 300 IN A 192.0.2.1'
  writeFileSync(join(folder, 'test.zone'), `$ORIGIN example.test.\n${soa}\n${hosts}\n`)
  const server = [`    listen: 127.0.0.1@5302`, `    rundir: "${folder}"`, '    udp-workers: 1', '    tcp-workers: 1']
  const zones = [
    `  - domain: mesos.\n    file: "${folder}/mesos.zone"`,
    `  - domain: example.test.\n    file: "${folder}/test.zone"`,
  ]
  const database = `database:\n    storage: "${folder}"`
  const config = `server:\n${server.join('\n')}\n    background-workers: 1\n${database}\nzone:\n${zones.join('\n')}\n`
  writeFileSync(join(folder, 'knot.conf'), config)
  const { pid = 0 } = startPinned(host, 'knotd', '-c', join(folder, 'knot.conf'))
  return { name: 'knot', port: 5302, pid }
}

/** Forwarders that cache what knot says. */
export function startForwarders(host: TestHost, folder: string, upstreamPort: number): readonly Contender[] {
  const contenders: Contender[] = []
  if (hasProgram('unbound')) {
    const lines = ['server:', 'interface: 127.0.0.1@5304', 'do-daemonize: no', 'use-syslog: no', 'num-threads: 1']
    lines.push('chroot: ""', 'username: ""', 'pidfile: ""', `directory: "${folder}"`, 'do-not-query-localhost: no')
    lines.push('local-zone: "test." nodefault', 'module-config: "iterator"', 'verbosity: 0')
    lines.push('forward-zone:', 'name: "."', `forward-addr: 127.0.0.1@${upstreamPort}`)
    writeFileSync(join(folder, 'unbound.conf'), `${lines.join('\n')}\n`)
    const { pid = 0 } = startPinned(host, 'unbound', '-d', '-c', join(folder, 'unbound.conf'))
    contenders.push({ name: 'unbound', port: 5304, pid })
  }
  if (hasProgram('dnsmasq')) {
    const own = [
      '--keep-in-foreground',
      '--no-resolv',
      '--no-hosts',
      '--conf-file=/dev/null',
      '--user=root',
      '--pid-file=',
    ]
    const serve = ['--port=5305', '--listen-address=127.0.0.1', '--bind-interfaces', '--cache-size=10000']
    const { pid = 0 } = startPinned(host, 'dnsmasq', ...own, ...serve, `--server=127.0.0.1#${upstreamPort}`)
    contenders.push({ name: 'dnsmasq', port: 5305, pid })
  }
  return contenders
}

const echoSource = `
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#define N 64
int main(int c, char **v) {
  static char buf[N][2048]; static struct mmsghdr m[N]; static struct iovec io[N]; static struct sockaddr_in from[N];
  int fd = socket(AF_INET, SOCK_DGRAM, 0), size = 1 << 22;
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(v[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  if (bind(fd, (void *)&at, sizeof at)) return 1;
  for (;;) {
    for (int i = 0; i < N; i++) {
      io[i] = (struct iovec){buf[i], 2048};
      m[i].msg_hdr = (struct msghdr){.msg_name = &from[i], .msg_namelen = sizeof from[i], .msg_iov = &io[i], .msg_iovlen = 1};
    }
    int n = recvmmsg(fd, m, N, MSG_WAITFORONE, 0);
    for (int i = 0; i < n; i++) { buf[i][2] |= 0x80; io[i].iov_len = m[i].msg_len; }
    if (n > 0) sendmmsg(fd, m, n, 0);
  }
}`

/** Sends every packet back as an answer: what sockets alone cost. Needs gcc. */
export function startEcho(host: TestHost, folder: string): Contender | undefined {
  if (!hasProgram('gcc')) return undefined
  writeFileSync(join(folder, 'echo.c'), echoSource)
  if (spawnSync('gcc', ['-O2', '-o', join(folder, 'echo'), join(folder, 'echo.c')]).status !== 0) return undefined
  const { pid = 0 } = startPinned(host, join(folder, 'echo'), '5306')
  return { name: 'C echo', port: 5306, pid }
}
