# Calls the web service by its name once a second and prints each answer; the name is asked for anew each time.
use strict;
use IO::Socket::IP;
$| = 1;
my ($name, $port) = @ARGV;
while (1) {
  my $server = IO::Socket::IP->new(PeerAddr => $name, PeerPort => $port, Timeout => 2);
  if ($server) {
    print $server "GET / HTTP/1.0\r\nHost: $name\r\n\r\n";
    my @lines = <$server>;
    print "$name: $lines[-1]";
  } else {
    print "$name: $@\n";
  }
  sleep 1;
}
