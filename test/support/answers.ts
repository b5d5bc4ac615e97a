import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { execArgv } from '../../core/cli/commands/exec.ts'
import { type ClusterLayout } from '../../core/cli/up/layout.ts'

/**
 * Requests at a steady rate by four processes, each over a connection of its own that may take 5 s to be made (the kernel
 * sends its SYN again after 1 s and 3 s); never repeated. A line for each: who answered, or what went wrong.
 */
const program = `use IO::Socket::INET; use Time::HiRes qw(sleep time); my ($host, $port, $rate) = @ARGV; my $n = 4; my @pids;
syswrite STDOUT, "ready\\n";
for my $i (1 .. $n) { my $pid = fork; if ($pid) { push @pids, $pid; next }
  my $on = 1; $SIG{TERM} = sub { $on = 0 }; $SIG{PIPE} = 'IGNORE'; my $due = time + $i / $rate;
  while ($on) { my $left = $due - time; sleep $left if $left > 0; last unless $on; $due += $n / $rate; $due = time if $due < time - 1;
    my ($t0, $why, $id) = (time, 'connect', ''); my $s = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port, Timeout => 5);
    my $e = $!; if ($s) { $why = 'no answer'; eval { local $SIG{ALRM} = sub { die "slow\\n" }; alarm 3; $s->autoflush(1);
      print $s "GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"; while (my $l = <$s>) { last if $l eq "\\r\\n" } my $b = <$s>; alarm 0;
      if (defined $b && chomp $b) { $id = $b; $why = '' } 1 } or $why = "no answer: $@"; alarm 0; close $s } else { $why .= ": $e $@" }
    $why =~ s/\\s+/ /g; syswrite STDOUT, $why eq '' ? "a $t0 $id\\n" : "f $t0 $why\\n" }
  exit 0 }
<STDIN>; kill 'TERM', @pids; waitpid($_, 0) for @pids; syswrite STDOUT, "done\\n";`

/** A request that was answered, or not. */
export interface Answer {
  /** When it began, milliseconds since the epoch. */
  readonly atMs: number
  /** Id of the task that answered; absent: it failed. */
  readonly by?: string
  readonly why?: string
}

/** Requests that go on until they are stopped. */
export interface Answers {
  /** So far, in the order of their ends. */
  readonly all: readonly Answer[]
  stop(): Promise<void>
}

/** Starts them on a host; resolves when they run. */
export async function startAnswers(
  layout: ClusterLayout,
  where: string,
  { host, port, perSecond }: { readonly host: string; readonly port: number; readonly perSecond: number },
): Promise<Answers> {
  const words = ['/usr/bin/perl', '-e', program, host, String(port), String(perSecond)]
  const [file, ...args] = await execArgv(layout, where, words)
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const all: Answer[] = []
  const ready = Promise.withResolvers<void>()
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()))
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (line === 'ready') ready.resolve()
    const [, kind, at, rest = ''] = /^([af]) ([\d.]+) (.*)$/.exec(line) ?? []
    if (kind !== undefined) all.push({ atMs: Number(at) * 1000, ...(kind === 'a' ? { by: rest } : { why: rest }) })
  })
  await ready.promise
  const stop = async () => {
    child.stdin.end()
    await ended
  }
  return { all, stop }
}

/** Consecutive answers in which every one of a few servers is found: to miss one of three is a matter of 1 to 10^14. */
const window = 80

/** The least number of different tasks that answered, of any so many answers in a row: what served, seen from outside. */
export function leastServing(answers: readonly Answer[]): number {
  const ids = answers.flatMap(({ by }) => by ?? [])
  const counts = new Map<string, number>()
  let least = Infinity
  for (const [i, id] of ids.entries()) {
    counts.set(id, (counts.get(id) ?? 0) + 1)
    const old = ids[i - window]
    if (old !== undefined) {
      const left = (counts.get(old) ?? 0) - 1
      if (left > 0) counts.set(old, left)
      else counts.delete(old)
    }
    if (i >= window - 1) least = Math.min(least, counts.size)
  }
  return least
}
