# What the service manager is told, and what is installed for it.

use strict;
use warnings;
use IO::Socket::UNIX;
use PgHa::Cluster qw(wait_until);
use Socket qw(SOCK_DGRAM);
use Test::More;

my $c = PgHa::Cluster->new(members => 1, ttl => 3);
my ($m) = $c->members;
my $path = "$c->{dir}/notify";
my $manager = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $path, Blocking => 0) or die "$path: $!";
my $heard = '';
sub hear { my $text; $heard .= "$text\n" while defined $manager->recv($text, 4096) && length $text; return $heard }

$m->{env} = { NOTIFY_SOCKET => $path };
$c->start;
wait_until('READY', 10, sub { hear() =~ /^READY=1$/m });
pass('it is ready when it listens');
wait_until('its status', 20, sub { hear() =~ /^STATUS=n1: primary, leader n1, timeline 1$/m });
pass('role, leader and timeline are told');
like($heard, qr/^STATUS=n1: (?:uninitialized|initializing new cluster|starting|stopped)/m, 'and what it is at before');
my $pid = $m->postmaster_pid;
unlike(PgHa::Cluster::slurp("/proc/$pid/environ"), qr/NOTIFY_SOCKET/, 'the server does not speak for the unit');
$c->stop;
like(hear(), qr/^STOPPING=1$/m, 'it says that it stops');

# without a manager, and with one that has gone, nothing is different
unlink $path;
close $manager;
$m->start;
$c->wait_healthy(30);
pass('a manager that does not listen is nobody\'s trouble');
$c->stop;

# the files for it
my $etc = "$ENV{PGHA_SRC}/etc";
for my $other (2, 3)
{
	my (undef, $diff) = PgHa::Cluster::run_ok('diff', "$etc/db1.conf", "$etc/db$other.conf");
	is(scalar(() = $diff =~ /^>/mg), 3, "db$other.conf differs from db1.conf in three lines");
}
SKIP:
{
	skip 'there is no systemd-analyze', 1 if system('command -v systemd-analyze >/dev/null 2>&1') != 0;
	my ($rc, $out, $err) = PgHa::Cluster::run_ok('systemd-analyze', 'verify', "$etc/pg_ha.service");
	my @found = grep { /pg_ha\.service/ && !/is not executable|Unit .* not found/ } split /\n/, "$out$err";
	is("@found", '', 'systemd finds nothing wrong with the unit');
}

done_testing;
