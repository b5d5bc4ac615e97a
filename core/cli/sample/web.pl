# A web service in what every Debian has: answers each connection with who served it and whom it saw.
use strict;
use IO::Socket::IP;
$| = 1;
$SIG{TERM} = sub { exit 0 };
# One socket for both IP versions, where the container has both.
my @here = -e '/proc/net/if_inet6' ? (LocalHost => '::', V6Only => 0) : (LocalHost => '0.0.0.0');
my $server = IO::Socket::IP->new(@here, LocalPort => 8080, Listen => 512, ReuseAddr => 1) or die "listen: $@";
while (1) {
  my $client = $server->accept or next;
  eval {
    local $SIG{ALRM} = sub { die "slow client\n" };
    alarm 5;
    while (my $line = <$client>) { last if $line =~ /^\r?$/ }
    s/^::ffff:// for my ($here, $there) = ($client->sockhost, $client->peerhost);
    my $body = "web $ENV{MESOS_TASK_ID} at $here sees $there\n";
    print $client "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: " . length($body)
      . "\r\nConnection: close\r\n\r\n$body";
    alarm 0;
  };
  close $client;
}
