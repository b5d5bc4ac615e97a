import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { execArgv } from '../../core/cli/commands/exec.ts'
import { type ClusterLayout } from '../../core/cli/up/layout.ts'

/** A program for containers: an echo server, a process for each connection; it greets with its task's id. */
export const echoServer = `use IO::Socket::INET; $| = 1; $SIG{CHLD} = 'IGNORE';
my $s = IO::Socket::INET->new(LocalPort => 7000, Listen => 512, ReuseAddr => 1) or die;
while (1) { my $c = $s->accept or next; my $pid = fork; next if $pid; $c->autoflush(1);
  while (my $l = <$c>) { print $c "$ENV{MESOS_TASK_ID} $l" } exit 0 }`

const holdProgram = `use IO::Socket::INET; $| = 1; my ($host, $port) = @ARGV;
my $s = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port, Timeout => 5) or die "connect: $@"; $s->autoflush(1);
while (my $l = <STDIN>) { print $s $l; my $r = <$s>; defined $r or die "closed"; print $r }`

const loadProgram = `use IO::Socket::INET; use Time::HiRes 'sleep'; $| = 1; my ($host, $port) = @ARGV; my ($ok, $bad) = (0, 0);
my $on = 1; $SIG{TERM} = sub { $on = 0 };
while ($on) { my $s = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port, Timeout => 3); my $r;
  if ($s) { $s->autoflush(1); eval { local $SIG{ALRM} = sub { die }; alarm 3; print $s "x\\n"; $r = <$s>; alarm 0 }; close $s }
  if (defined $r) { $ok++ } else { $bad++; print "failed: $@ $!\\n" } sleep 0.02; }
print "done $ok $bad\\n";`

/** Lines in and out of a program that runs in a task's container. */
interface Conversation {
  readonly child: ChildProcess
  next(): Promise<string>
}

async function converse(layout: ClusterLayout, task: string, words: readonly string[]): Promise<Conversation> {
  const [program, ...args] = await execArgv(layout, task, ['/usr/bin/perl', '-e', ...words])
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const next = async () => {
    const { value, done } = await lines.next()
    if (done) throw new Error('the program in the container ended')
    return String(value)
  }
  return { child, next }
}

/** A connection that stays open. */
export interface HeldConnection {
  /** Sends a line over it. @returns the answer, which begins with the id of the task that serves it */
  say(text: string): Promise<string>
  close(): void
}

/** Opens a connection from a task's container. */
export async function holdConnection(
  layout: ClusterLayout,
  task: string,
  to: readonly [string, string],
): Promise<HeldConnection> {
  const { child, next } = await converse(layout, task, [holdProgram, ...to])
  const say = (text: string) => {
    child.stdin?.write(`${text}\n`)
    return next()
  }
  return { say, close: () => child.stdin?.end() }
}

/** New connections, one after another, 20 ms apart. */
export interface Load {
  /** Ends it. @returns how many were answered, and how many were not */
  stop(): Promise<{ readonly answered: number; readonly failed: number }>
}

/** Starts such a load from a task's container; `pkill` inside the container ends it, so it must be the only perl there. */
export async function startLoad(layout: ClusterLayout, task: string, to: readonly [string, string]): Promise<Load> {
  const { next } = await converse(layout, task, [loadProgram, ...to])
  const stop = async () => {
    const [program, ...args] = await execArgv(layout, task, ['pkill', '-TERM', '-f', 'Time::HiRes'])
    await new Promise((resolve) => spawn(program, args, { stdio: 'ignore' }).on('exit', resolve))
    for (;;) {
      const done = /^done (\d+) (\d+)$/.exec(await next())
      if (done !== null) return { answered: Number(done[1]), failed: Number(done[2]) }
    }
  }
  return { stop }
}
