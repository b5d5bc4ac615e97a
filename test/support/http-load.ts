import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { execArgv } from '../../core/cli/commands/exec.ts'
import { type ClusterLayout } from '../../core/cli/up/layout.ts'

/**
 * An HTTP server on port 8080 as it should be: told to end, it takes whom the kernel has accepted for it, answers what is
 * under way with "Connection: close", and then ends.
 */
export const gracefulServer = `use IO::Socket::INET; my $ending = 0; $SIG{TERM} = sub { $ending = 1 }; my %kids;
my $s = IO::Socket::INET->new(LocalPort => 8080, Listen => 512, ReuseAddr => 1) or die;
sub serve { my $c = shift; my $pid = fork; if ($pid) { $kids{$pid} = 1; close $c; return } close $s;
  while (1) { my $n = 0; while (my $l = <$c>) { $n++; last if $l eq "\\r\\n" } exit 0 unless $n;
    my $end = $ending ? "Connection: close\\r\\n" : ""; my $b = "$ENV{MESOS_TASK_ID}\\n";
    print $c "HTTP/1.1 200 OK\\r\\n$end" . "Content-Length: " . length($b) . "\\r\\n\\r\\n$b"; $c->flush; exit 0 if $end } }
$SIG{CHLD} = 'DEFAULT';
until ($ending) { my $r = ''; vec($r, fileno($s), 1) = 1; if (select($r, undef, undef, 0.05) > 0) { my $c = $s->accept; serve($c) if $c }
  while ((my $k = waitpid(-1, 1)) > 0) { delete $kids{$k} } }
$s->blocking(0); while (my $c = $s->accept) { $c->blocking(1); serve($c) } close $s;
kill 'TERM', keys %kids; while (waitpid(-1, 0) > 0) {} exit 0`

/**
 * Requests at a steady rate by several processes, over one connection each or a new one each time. One that is not answered
 * within 3 s has failed; what became of it is told: a machine that is too slow, or packets that are lost.
 */
const loadProgram = `use IO::Socket::INET; use Time::HiRes qw(sleep time); $| = 1; my ($host, $port, $rate, $keep, $wait) = @ARGV; my $n = 4; my @pipes; my @pids;
for my $i (1 .. $n) { pipe(my $r, my $w); my $pid = fork; if ($pid) { close $w; push @pipes, $r; push @pids, $pid; next }
  sub late { my ($s, $t0, $made) = @_; my $got = 'nothing'; eval { local $SIG{ALRM} = sub { die "never\\n" }; alarm 10; my $l = <$s>;
    $got = defined $l ? substr($l, 0, 20) : "end: $!"; alarm 0; 1 } or $got = 'nothing'; alarm 0;
    sprintf(" made after %.1f s, then %s after %.1f s", $made, $got, time - $t0) }
  my ($on, $ok, $bad, $s) = (1, 0, 0, undef); $SIG{TERM} = sub { $on = 0 }; $SIG{PIPE} = 'IGNORE'; my $due = time + $i / $rate;
  while ($on) { my $left = $due - time; sleep $left if $left > 0; last unless $on; $due += $n / $rate; $due = time if $due < time - 1;
    my ($why, $len, $close, $t0) = ('connect', -1, 1, time); $s = undef unless $keep;
    $s ||= IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port, Timeout => $wait);
    my $made = time - $t0;
    if ($s) { $why = 'no answer'; eval { local $SIG{ALRM} = sub { die "slow\\n" }; alarm 3; $s->autoflush(1);
      print $s "GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"; $close = 0; my $h = 0;
      while (my $l = <$s>) { $h++; last if $l eq "\\r\\n"; $len = $1 if $l =~ /^Content-Length: (\\d+)/; $close = 1 if $l =~ /^Connection: close/ }
      my $b = $len > 0 ? <$s> : undef; $why = '' if defined $b && length($b) == $len; alarm 0; 1 } or $why = "died $@"; alarm 0; $why .= late($s, $t0, $made) if $why =~ /slow/ }
    if ($why eq '') { $ok++ } else { $bad++; my $m = "$why: $!"; $m =~ s/\\s+/ /g; print $w "failed $t0 $m\\n"; $close = 1 }
    if ($close || !$keep) { close $s if $s; $s = undef } }
  print $w "sum $ok $bad\\n"; exit 0 }
print "ready\\n"; <STDIN>; kill 'TERM', @pids; my ($ok, $bad) = (0, 0);
for my $r (@pipes) { while (my $l = <$r>) { if ($l =~ /^sum (\\d+) (\\d+)/) { $ok += $1; $bad += $2 } else { print $l } } }
print "done $ok $bad\\n";`

/** What became of the requests. */
export interface LoadResult {
  readonly answered: number
  /** When they began, as milliseconds since the epoch, and why. */
  readonly failures: readonly { readonly atMs: number; readonly why: string }[]
}

/** Requests that go on until it is stopped. */
export interface HttpLoad {
  /** Ends it, whatever it found; after `stop` it does nothing. */
  end(): void
  stop(): Promise<LoadResult>
}

/** Which requests. */
export interface HttpLoadOptions {
  readonly host: string
  readonly port: number
  readonly perSecond: number
  readonly connections: 'kept' | 'new'
  /** How long a connection may take to be made; absent: 2. */
  readonly connectSeconds?: number
}

/** Starts it in a task's container or on a host; resolves when it runs. */
export async function startHttpLoad(layout: ClusterLayout, where: string, options: HttpLoadOptions): Promise<HttpLoad> {
  const { host, port, perSecond, connections } = options
  const words = [
    host,
    String(port),
    String(perSecond),
    connections === 'kept' ? '1' : '',
    String(options.connectSeconds ?? 2),
  ]
  const [program, ...args] = await execArgv(layout, where, ['/usr/bin/perl', '-e', loadProgram, ...words])
  const child: ChildProcess = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  if (child.stdout === null) throw new Error('the load has no output')
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  await lines.next()
  const stop = async (): Promise<LoadResult> => {
    child.stdin?.end('end\n')
    const failures: { atMs: number; why: string }[] = []
    for (;;) {
      const { value, done } = await lines.next()
      if (done === true) throw new Error('the load ended too early')
      const [, at, why = ''] = /^failed ([\d.]+) (.*)$/.exec(String(value)) ?? []
      if (at !== undefined) failures.push({ atMs: Number(at) * 1000, why })
      const sum = /^done (\d+) (\d+)$/.exec(String(value))
      if (sum !== null) return { answered: Number(sum[1]), failures }
    }
  }
  return { stop, end: () => child.stdin?.end() }
}
