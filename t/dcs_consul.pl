#!/usr/bin/perl
#
# The Consul client against a real Consul, and against servers that lie.
#
# PGHA_CONSUL names the consul binary, else the one on PATH or in .deps/bin is
# taken; without one its part is skipped.  The client, t/tools/dcs_client.c, is
# built for the run, under sanitizers and with less patience.

use strict;
use warnings;

use File::Basename qw(dirname);
use File::Spec;
use File::Temp qw(tempdir);
use IO::Select;
use IO::Socket::INET;
use IPC::Open2;
use JSON::PP;
use MIME::Base64;
use Test::More;
use Time::HiRes qw(time sleep);

my $top = File::Spec->rel2abs(dirname(__FILE__) . '/..');
my $dir = tempdir(CLEANUP => 1);
my $json = JSON::PP->new->utf8->allow_nonref;
my $owner = $$;
my %children;    # pid => 1 if it leads a process group

END
{
	if ($$ == $owner)
	{
		my $status = $?;

		foreach my $pid (keys %children)
		{
			kill 'KILL', $children{$pid} ? -$pid : $pid;
			waitpid($pid, 0);
		}
		$? = $status;
	}
}

sub wait_until
{
	my ($condition, $what) = @_;
	my $end = time() + 60;

	while (time() < $end)
	{
		return 1 if $condition->();
		sleep 0.02;
	}
	BAIL_OUT("timed out waiting for $what");
}

# --- the client under test

sub client_program
{
	my $program = "$dir/dcs_client";
	my @sources = map { "$top/src/dcs/$_.c" }
	  qw(http transfer consul consul_answer consul_request base64);

	system($ENV{CC} // 'cc', '-std=gnu11', '-g', '-O1',
		'-fsanitize=address,undefined', '-DHA_CONSUL_PREFER_MS=300',
		"-I$top/src", '-o', $program,
		"$top/t/tools/dcs_client.c", @sources, '-lcurl', '-ljansson') == 0
	  or BAIL_OUT('could not build t/tools/dcs_client.c');
	return $program;
}

my $program = client_program();

sub client
{
	my @arguments = @_;
	my $pid = open2(my $out, my $in, $program, @arguments);

	$children{$pid} = 0;
	$in->autoflush(1);
	return { in => $in, out => $out, pid => $pid };
}

sub answer
{
	my ($client) = @_;
	my $line = readline($client->{out});

	BAIL_OUT('the client is gone') unless defined $line;
	return $json->decode($line);
}

sub ask
{
	my ($client, @command) = @_;

	print { $client->{in} } $json->encode(\@command), "\n";
	return answer($client);
}

sub finish
{
	my ($client) = @_;

	close $client->{in};
	waitpid($client->{pid}, 0);
	delete $children{ $client->{pid} };
	return $? == 0;
}

# --- a server that lies: the first part of the path says how

my $key_entry = $json->canonical->encode(
	{
		Key => 'a/b', Value => encode_base64('value', ''),
		ModifyIndex => 7, CreateIndex => 3, LockIndex => 0, Flags => 0
	});

sub http
{
	my ($status, $body, @headers) = @_;

	return join("\r\n",
		"HTTP/1.1 $status", 'Content-Length: ' . length($body),
		'Connection: close', @headers, '', $body);
}

sub with_index
{
	my ($body, $index) = @_;

	return http('200 OK', $body, 'X-Consul-Index: ' . ($index // 9));
}

my %lies = (
	ok => with_index("[$key_entry]"),
	spaced => with_index(" [ $key_entry ]\n"),
	garbage => with_index("\0\1\2 not json"),
	html => with_index('<html><body>200 OK</body></html>'),
	nothing => with_index(''),
	shape => with_index('{"Key":"a","Value":"Zg=="}'),
	empty_list => with_index('[]'),
	numbers => with_index('[1,2]'),
	cut_json => with_index(substr("[$key_entry]", 0, -2)),
	bad_value => with_index($key_entry =~ s/"Value":"[^"]*"/"Value":"%%%%"/r =~ s/(.*)/[$1]/r),
	bad_index => with_index($key_entry =~ s/"ModifyIndex":7/"ModifyIndex":-7/r =~ s/(.*)/[$1]/r),
	no_index => http('200 OK', "[$key_entry]"),
	text_index => with_index("[$key_entry]", 'abc'),
	minus_index => with_index("[$key_entry]", '-5'),
	huge_index => with_index("[$key_entry]", '99999999999999999999999'),
	zero_index => with_index("[$key_entry]", 0),
	back => with_index("[$key_entry]", 5),
	same => with_index("[$key_entry]", 100),
	forward => with_index("[$key_entry]", 101),
	half => "HTTP/1.1 200 OK\r\nX-Consul-Index: 9\r\nContent-Length: 1000\r\n\r\n[$key_entry]",
	half_chunk => "HTTP/1.1 200 OK\r\nX-Consul-Index: 9\r\nTransfer-Encoding: chunked\r\n\r\n"
	  . sprintf("%x\r\n%s\r\n", 2 + length $key_entry, "[$key_entry]"),
	half_header => "HTTP/1.1 200 OK\r\nX-Consul-In",
	silent => '',
	http09 => "[$key_entry]",
	s500 => http('500 Internal Server Error', 'No cluster leader'),
	s503 => http('503 Service Unavailable', 'x'),
	s429 => http('429 Too Many Requests', 'Your IP is issuing too many concurrent connections'),
	s204 => http('204 No Content', ''),
	proxy404 => http('404 Not Found', '404 page not found'),
	none => http('404 Not Found', '', 'X-Consul-Index: 12'),
	denied => http('403 Forbidden', "Permission denied\n"),
	true => http('200 OK', "true\n"),
	false => http('200 OK', 'false'),
	maybe => http('200 OK', '"true"'),
	short_txn => http('200 OK', '{"Results":[],"Errors":null}'),
	odd_txn => http('200 OK', '{"Results":[{"KV":null}],"Errors":null}'),
	refused_txn => http('409 Conflict', '{"Results":null,"Errors":[{"OpIndex":0,"What":"current modify index does not match"}]}'),
	garbage_409 => http('409 Conflict', 'conflict'),
	no_id => http('200 OK', '{"Id":5}'),
	pretty_id => http('200 OK', "{\n    \"ID\": \"0123-45\"\n}\n"),
	bad_ttl => http('400 Bad Request', "Request decode failed: Invalid Session TTL '3000000000', must be between [10s=24h0m0s]"),
	bad_session => http('500 Internal Server Error', 'rpc error making call: invalid session "x"'));

# What can't be said in one text.
sub serve_special
{
	my ($socket, $lie, $request) = @_;

	if ($lie eq 'redirect')
	{
		print $socket http('302 Found', '', 'Location: /ok/v1/kv/a/b');
	}
	elsif ($lie eq 'echo')
	{
		print $socket with_index(
			'['
			  . $json->encode(
				{
					Key => 'request', Value => encode_base64($request, ''),
					ModifyIndex => 1, CreateIndex => 1
				})
			  . ']');
	}
	elsif ($lie eq 'large' || $lie eq 'large_said')
	{
		my $length = $lie eq 'large' ? '' : "Content-Length: 104857600\r\n";
		my $block = 'x' x 65536;

		print $socket "HTTP/1.1 200 OK\r\nX-Consul-Index: 9\r\n$length\r\n";
		for (1 .. 1600)
		{
			last unless print $socket $block;
		}
	}
	elsif ($lie eq 'headers')
	{
		print $socket "HTTP/1.1 200 OK\r\n";
		for (1 .. 100000)
		{
			last unless print $socket 'X-More: ' . ('y' x 1000) . "\r\n";
		}
	}
	elsif ($lie eq 'gate')
	{
		print $socket $lies{ -e "$dir/open" ? 'ok' : 's500' };
	}
	elsif ($lie eq 'drip')
	{
		print $socket "HTTP/1.1 200 OK\r\nX-Consul-Index: 9\r\n\r\n";
		while (print $socket ' ') { sleep 0.02; }
	}
	elsif ($lie eq 'late' || $lie eq 'late_write')
	{
		# long after the client has given up, or at once when it closes
		IO::Select->new($socket)->can_read(10);
		print $socket $lies{ $lie eq 'late' ? 'ok' : 'true' };
	}
	else
	{
		print $socket $lies{$lie} // http('400 Bad Request', "no lie $lie");
	}
}

sub serve_one
{
	my ($socket) = @_;
	my $request = '';

	# the header, and a body of the length it says
	until ($request =~ /\r\n\r\n/
		  && length($') >= ($request =~ /^Content-Length: (\d+)/im ? $1 : 0))
	{
		sysread($socket, $request, 65536, length $request) or return;
	}
	my ($lie) = $request =~ m{^\w+ /(\w+)};
	$socket->autoflush(1);
	serve_special($socket, $lie // '', $request);
	shutdown($socket, 1);

	# let the client read before the socket is reset
	IO::Select->new($socket)->can_read(5) and sysread($socket, $request, 1);
}

sub start_liar
{
	my $listener = IO::Socket::INET->new(
		LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 64)
	  or BAIL_OUT("could not listen: $!");
	my $port = $listener->sockport;
	my $pid = fork() // BAIL_OUT("could not fork: $!");

	if ($pid == 0)
	{
		setpgrp(0, 0);
		$SIG{CHLD} = 'IGNORE';
		$SIG{PIPE} = 'IGNORE';
		while (1)
		{
			my $socket = $listener->accept or next;
			if (!fork())
			{
				serve_one($socket);
				POSIX::_exit(0);
			}
			close $socket;
		}
	}
	setpgrp($pid, $pid);
	$children{$pid} = 1;
	return "http://127.0.0.1:$port";
}

# A port that refuses: bound, never listened on.
sub refusing_url
{
	my ($keep) = @_;

	$$keep = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Proto => 'tcp')
	  or BAIL_OUT("could not bind: $!");
	return 'http://127.0.0.1:' . $$keep->sockport;
}

# --- parts

sub test_lies
{
	my ($liar) = @_;
	my $a;

	foreach my $lie (qw(garbage html nothing shape empty_list numbers cut_json
		bad_value bad_index no_index text_index minus_index huge_index
		zero_index half half_chunk half_header silent http09 s500 s503 s429
		s204 proxy404 redirect large large_said headers garbage_409))
	{
		my $client = client("$liar/$lie");

		$a = ask($client, 'read', 'a/', JSON::PP::false, 20000);
		is("$a->{result} " . @{ $a->{keys} } . " $a->{index}",
			'NO_ANSWER 0 0', "a read answered by '$lie' is no answer");
		cmp_ok($a->{retry}, '>=', 100, "and asks for a pause ('$lie')");
		isnt($a->{text}, '', "and says why: $a->{text}");
		if ($lie =~ /^large/)
		{
			# the address sanitizer takes some itself
			cmp_ok(ask($client, 'memory')->{memory}, '<', 80 * 1024,
				"memory stays bounded ('$lie')");
		}
		ok(finish($client), "the client is well after '$lie'");
	}
	foreach my $lie (qw(ok spaced))
	{
		my $client = client("$liar/$lie");

		$a = ask($client, 'read', 'a/', JSON::PP::false, 20000);
		is("$a->{result} $a->{index} $a->{keys}[0]{key} $a->{keys}[0]{value} "
			  . "$a->{keys}[0]{modify_index} $a->{retry}",
			'OK 9 a/b value 7 0', "a read answered by '$lie' is read");
		finish($client);
	}
}

sub test_times
{
	my ($liar) = @_;
	my $begin = time();

	foreach my $lie (qw(late drip))
	{
		my $client = client("$liar/$lie");
		my $a = ask($client, 'read', 'a/', JSON::PP::false, 300);

		is($a->{result}, 'NO_ANSWER', "'$lie': timed out");
		cmp_ok($a->{ms}, '>=', 290, "'$lie': not before its time");
		cmp_ok($a->{ms}, '<', 2500, "'$lie': nor long after");
		$a = ask($client, 'put', 'k', 'v', -1, 300);
		is($a->{result}, 'NO_ANSWER', "'$lie': a write's outcome is unknown");
		finish($client);
	}
	my $client = client("$liar/late");
	print { $client->{in} } $json->encode(
		[ 'both', map { [ 'read', 'a/', JSON::PP::false, 100 * $_ ] } 1 .. 4 ]),
	  "\n";
	my @times = map { answer($client)->{ms} } 1 .. 4;
	is_deeply(\@times, [ sort { $a <=> $b } @times ],
		'several requests each end at their own time');
	finish($client);
}

sub test_results
{
	my ($liar) = @_;
	my @key = ('key', 'a/b', JSON::PP::false, 5000);
	my @put = ('put', 'a', 'v', -1, 5000);
	my @set = ('txn', [ [ 'set', 'a', 'v', undef, 0 ] ], 5000);
	my @create = ('create', 'n', 10000, 0, 5000);
	my @renew = ('renew', 's', 5000);
	my @cases = (
		[ 'none', 'NOT_FOUND', @key ],
		[ 'denied', 'DENIED', @key ],
		[ 'denied', 'DENIED', @set ],
		[ 'true', 'OK', @put ],
		[ 'false', 'REFUSED', @put ],
		[ 'maybe', 'NO_ANSWER', @put ],
		[ 'none', 'NO_ANSWER', @put ],
		[ 's500', 'NO_ANSWER', @put ],
		[ 'true', 'OK', 'delete', 'a', 5, 5000 ],
		[ 'false', 'REFUSED', 'delete', 'a', 5, 5000 ],
		[ 'bad_session', 'BAD_SESSION', @put ],
		[ 'bad_session', 'BAD_SESSION', @set ],
		[ 'refused_txn', 'REFUSED', @set ],
		[ 'garbage_409', 'NO_ANSWER', @set ],
		[ 'short_txn', 'NO_ANSWER', @set ],
		[ 'odd_txn', 'NO_ANSWER', @set ],
		[ 'true', 'NO_ANSWER', @set ],
		[ 'pretty_id', 'OK', @create ],
		[ 'no_id', 'NO_ANSWER', @create ],
		[ 'garbage', 'NO_ANSWER', @create ],
		[ 'bad_ttl', 'BAD_TTL', @create ],
		[ 'proxy404', 'NOT_FOUND', @renew ],
		[ 'no_id', 'NO_ANSWER', @renew ],
		[ 'redirect', 'NO_ANSWER', @put ]);

	foreach my $case (@cases)
	{
		my ($lie, $result, @command) = @$case;
		my $client = client("$liar/$lie");
		my $a = ask($client, @command);

		is($a->{result}, $result, "$command[0] answered by '$lie' is $result");
		is($a->{text}, '0123-45', 'a session id is found in printed JSON')
		  if $lie eq 'pretty_id';
		like($a->{text}, qr/modify index/, 'a refusal says why')
		  if $lie eq 'refused_txn';
		finish($client);
	}
}

sub test_request
{
	my ($liar) = @_;
	my $client = client("$liar/echo/", 'to ken', 'dc 1');
	my $echo = sub { ask($client, @_)->{keys}[0]{value} };
	my $r = $echo->('read', 'service/my scope/"?#%/', JSON::PP::true, 5000);

	like($r, qr{^GET /echo/v1/kv/service/my%20scope/%22%3F%23%25/\?},
		'names are escaped, slashes are not');
	like($r, qr{\?dc=dc%201&recurse&consistent HTTP/1.1\r\n}, 'parameters');
	like($r, qr{^X-Consul-Token: to ken\r$}m, 'the token');
	$r = $echo->('key', "\x{e9}", JSON::PP::false, 5000);
	like($r, qr{/%C3%A9\?dc=dc%201 HTTP}, 'UTF-8 is escaped bytewise');
	$r = $echo->('watch', 'a/', 77, 1500, 5000);
	like($r, qr{recurse&index=77&wait=1500ms }, 'a watch waits for its index');
	$r = $echo->('watch', 'a/', 0, 1500, 5000);
	unlike($r, qr{index=|wait=}, 'a watch of index 0 does not');
	is(ask($client, 'key', 'x' x 5000, JSON::PP::false, 5000)->{result},
		'NOT_STARTED', 'a key that is too long is not asked for');
	is(ask($client, 'txn', [ map { [ 'get', 'a', undef, undef, 0 ] } 1 .. 65 ],
			5000)->{result}, 'NOT_STARTED', 'nor is a txn that is too long');
	finish($client);
}

sub test_watch_index
{
	my ($liar) = @_;

	foreach my $case ([ 'back', 0, 0 ], [ 'same', 100, 100 ],
		[ 'forward', 101, 0 ])
	{
		my ($lie, $index, $retry) = @$case;
		my $client = client("$liar/$lie");
		my $a = ask($client, 'watch', 'a/', 100, 10000, 15000);

		is("$a->{result} $a->{index} $a->{retry}", "OK $index $retry",
			"a watch of 100 answered by '$lie': index $index, pause $retry");
		finish($client);
	}
}

sub test_endpoints
{
	my ($liar) = @_;
	my $refusing = refusing_url(\my $keep);
	my $client = client("$refusing, $liar/s500 $liar/ok");
	my @read = ('read', 'a/', JSON::PP::false, 5000);
	my $a = ask($client, @read);

	is("$a->{result} $a->{endpoint}", "NO_ANSWER $liar/s500",
		'a dead endpoint: the next one is next');
	$a = ask($client, @read);
	is("$a->{result} $a->{endpoint}", "NO_ANSWER $liar/ok",
		'one that answers 500: the one after it');
	$a = ask($client, @read);
	is("$a->{result} $a->{endpoint} $a->{retry}", "OK $liar/ok 0",
		'one that works stays in use');
	$a = ask($client, @read);
	is("$a->{result} $a->{endpoint}", "OK $liar/ok", 'and is kept');
	finish($client);

	$client = client("$liar/gate,$liar/ok");
	$a = ask($client, @read);
	is("$a->{result} $a->{endpoint}", "NO_ANSWER $liar/ok",
		'the preferred endpoint fails');
	sleep 0.35;
	$a = ask($client, 'watch', 'a/', 0, 100, 5000);
	is($a->{result}, 'OK', 'a watch does not try it again');
	is(ask($client, @read)->{result}, 'NO_ANSWER', 'a read does');
	is(ask($client, @read)->{result}, 'OK', 'once');
	open my $gate, '>', "$dir/open" or die;
	close $gate;
	wait_until(sub { ask($client, @read)->{endpoint} eq "$liar/gate" },
		'the preferred endpoint to be taken back');
	pass('and when it works it is in use again');
	finish($client);

	$client = client("$liar/denied,$liar/ok");
	$a = ask($client, @read);
	is("$a->{result} $a->{endpoint}", "DENIED $liar/denied",
		'an ACL is the same everywhere: no fail-over');
	cmp_ok($a->{retry}, '>=', 100, 'but a pause');
	finish($client);

	$client = client($refusing);
	my @pauses = map { ask($client, @read)->{retry} } 1 .. 8;
	is("@pauses", '100 200 400 800 1600 2000 2000 2000',
		'the pause grows to its bound');
	finish($client);
}

sub test_create_errors
{
	my %bad = (
		'' => qr/no Consul URL/,
		' , ' => qr/no Consul URL/,
		'ftp://h:1' => qr/must be http/,
		'127.0.0.1:8500' => qr/must be http/,
		'http://' => qr/must be http/,
		'http://:80' => qr/must be http/,
		join(',', ('http://h:1') x 9) => qr/too many/);

	foreach my $urls (sort keys %bad)
	{
		my $client = client($urls);

		like(answer($client)->{error}, $bad{$urls}, "refused: '$urls'");
		finish($client);
	}
}

# --- a real Consul

sub find_consul
{
	foreach my $program ($ENV{PGHA_CONSUL} // '',
		(map { "$_/consul" } split /:/, $ENV{PATH}), "$top/.deps/bin/consul")
	{
		return $program if $program ne '' && -x $program && !-d $program;
	}
	return undef;
}

sub free_ports
{
	my ($n) = @_;
	my @sockets = map {
		IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0,
			Listen => 1)
	} 1 .. $n;

	return map { $_->sockport } @sockets;
}

# A port may be taken between our look and Consul's, so it may need a second go.
sub start_consul
{
	my ($consul) = @_;

	for (1 .. 3)
	{
		my ($http, $serf, $server) = free_ports(3);
		my $pid = fork() // BAIL_OUT("could not fork: $!");

		if ($pid == 0)
		{
			open STDOUT, '>', "$dir/consul.log";
			open STDERR, '>&', \*STDOUT;
			exec $consul, 'agent', '-dev', '-node=test', '-bind=127.0.0.1',
			  '-client=127.0.0.1', "-http-port=$http", '-dns-port=-1',
			  '-grpc-port=-1', "-serf-lan-port=$serf", '-serf-wan-port=-1',
			  "-server-port=$server"
			  or POSIX::_exit(127);
		}
		$children{$pid} = 0;

		my $url = "http://127.0.0.1:$http";
		my $client = client($url);
		my $ready;
		wait_until(
			sub {
				my $a = ask($client, 'put', 'ready', 'yes', -1, 1000);
				$ready = $a->{result} eq 'OK';
				return $ready || waitpid($pid, POSIX::WNOHANG()) == $pid;
			},
			'Consul to start');
		finish($client);
		return ($url, $pid) if $ready;
		delete $children{$pid};
	}
	BAIL_OUT("Consul does not start, see $dir/consul.log");
}

sub test_real_keys
{
	my ($client) = @_;
	my $name = 'service/my scope/members/pg "1"';
	my $value = "{\"a\":\"\x{e9}\"}";
	my $a = ask($client, 'read', 'nothing/', JSON::PP::true, 5000);

	is("$a->{result} " . @{ $a->{keys} }, 'NOT_FOUND 0', 'an empty folder');
	cmp_ok($a->{index}, '>', 0, 'has an index');
	is(ask($client, 'put', $name, $value, 0, 5000)->{result}, 'OK',
		'put if absent');
	is(ask($client, 'put', $name, $value, 0, 5000)->{result}, 'REFUSED',
		'not twice');
	$a = ask($client, 'key', $name, JSON::PP::true, 5000);
	is("$a->{result} $a->{keys}[0]{key}", "OK $name", 'a name with quotes');
	is($a->{keys}[0]{value}, $value, 'its value');
	my $index = $a->{keys}[0]{modify_index};
	is(ask($client, 'put', $name, 'x', $index, 5000)->{result}, 'OK',
		'put at its index');
	is(ask($client, 'delete', $name, $index, 5000)->{result}, 'REFUSED',
		'no delete at an old index');
	$a = ask($client, 'read', 'service/my scope/', JSON::PP::false, 5000);
	is(join(' ', map { $_->{value} } @{ $a->{keys} }), 'x', 'read by prefix');
	is(ask($client, 'delete', $name, -1, 5000)->{result}, 'OK', 'delete');
	is(ask($client, 'key', $name, JSON::PP::false, 5000)->{result},
		'NOT_FOUND', 'a deleted key');
	ask($client, 'put', 'empty', '', -1, 5000);
	$a = ask($client, 'key', 'empty', JSON::PP::false, 5000);
	is("$a->{result} $a->{keys}[0]{length}", 'OK 0', 'an empty value');
	is(ask($client, 'put', 'big', 'x' x 600000, -1, 5000)->{result},
		'NO_ANSWER', 'a value over 512 KB');
}

sub test_real_watch
{
	my ($client) = @_;
	my $a = ask($client, 'watch', 'w/', 0, 5000, 7000);
	my $index = $a->{index};

	$a = ask($client, 'watch', 'w/', $index, 100, 5000);
	is("$a->{result} $a->{index}", "NOT_FOUND $index",
		'a watch ends by its time');
	print { $client->{in} } $json->encode(
		[
			'both',
			[ 'watch', 'w/', $index, 20000, 25000 ],
			[ 'put', 'w/a', 'new', -1, 5000 ]
		]),
	  "\n";
	my @answers = map { answer($client) } 1, 2;
	my ($watched) = grep { @{ $_->{keys} } } @answers;
	is($watched->{keys}[0]{value}, 'new', 'a watch sees a write');
	cmp_ok($watched->{index}, '>', $index, 'with a later index');
	cmp_ok($watched->{ms}, '<', 10000, 'at once');
}

sub test_real_sessions
{
	my ($client) = @_;
	my $a = ask($client, 'create', 'scope-"pg 1"', 10500, 0, 5000);
	my $session = $a->{text};

	is($a->{result}, 'OK', 'a session with a TTL of 10.5 s');
	is(ask($client, 'renew', $session, 5000)->{result}, 'OK', 'renewed');
	is(ask($client, 'create', 'x', 3000, 0, 5000)->{result}, 'BAD_TTL',
		'a TTL under the minimum');
	my $gone = '11111111-2222-3333-4444-555555555555';
	is(ask($client, 'renew', $gone, 5000)->{result}, 'NOT_FOUND',
		'a session that is gone');
	is(ask($client, 'txn', [ [ 'lock', 'l', 'v', $gone, 0 ] ], 5000)
		  ->{result}, 'BAD_SESSION', 'a lock with it');
	$a = ask($client, 'txn', [ [ 'lock', 'l', 'me', $session, 0 ] ], 5000);
	is("$a->{result} $a->{keys}[0]{key} $a->{keys}[0]{session}",
		"OK l $session", 'a lock with a live one');

	my $other = ask($client, 'create', 'other', 10000, 0, 5000)->{text};
	$a = ask($client, 'txn', [ [ 'lock', 'l', 'you', $other, 0 ] ], 5000);
	is($a->{result}, 'REFUSED', 'somebody else is refused');
	is(ask($client, 'destroy', $session, 5000)->{result}, 'OK', 'destroyed');
	is(ask($client, 'key', 'l', JSON::PP::true, 5000)->{result}, 'NOT_FOUND',
		'its key went with it');
	$a = ask($client, 'txn', [ [ 'lock', 'l', 'you', $other, 0 ] ], 5000);
	is($a->{result}, 'OK', 'and no lock delay keeps others off');
	ask($client, 'destroy', $other, 5000);

	$session = ask($client, 'create', 'slow', 10000, 60000, 5000)->{text};
	ask($client, 'txn', [ [ 'lock', 'd', 'me', $session, 0 ] ], 5000);
	ask($client, 'destroy', $session, 5000);
	$session = ask($client, 'create', 'next', 10000, 0, 5000)->{text};
	$a = ask($client, 'txn', [ [ 'lock', 'd', 'me', $session, 0 ] ], 5000);
	is($a->{result}, 'REFUSED', 'a lock delay that was asked for is kept');
	like($a->{text}, qr/lock delay/, 'and named');
}

# The transactions of a leadership: take over, heartbeat, release.
sub test_real_lease
{
	my ($client) = @_;
	my $session = ask($client, 'create', 'leader', 10000, 0, 5000)->{text};
	my $a = ask($client, 'txn',
		[
			[ 'check-not-exists', 's/status', undef, undef, 0 ],
			[ 'check-not-exists', 's/leader', undef, undef, 0 ],
			[ 'lock', 's/leader', 'pg1', $session, 0 ],
			[ 'set', 's/status', '{"seq":0}', undef, 0 ]
		],
		5000);
	my ($status) = grep { $_->{key} eq 's/status' } @{ $a->{keys} };
	my ($leader) = grep { $_->{key} eq 's/leader' } @{ $a->{keys} };
	my $index = $status->{modify_index};

	is($a->{result}, 'OK', 'takeover of an empty scope');
	my $beat = sub {
		my ($seq, $at) = @_;
		return ask($client, 'txn',
			[
				[ 'check-index', 's/status', undef, undef, $at ],
				[ 'lock', 's/leader', 'pg1', $session, 0 ],
				[ 'set', 's/status', "{\"seq\":$seq}", undef, 0 ]
			],
			5000);
	};
	$a = $beat->(1, $index);
	($status) = grep { $_->{key} eq 's/status' } @{ $a->{keys} };
	cmp_ok($status->{modify_index}, '>', $index, 'a heartbeat moves status');
	my ($same) = grep { $_->{key} eq 's/leader' } @{ $a->{keys} };
	is($same->{modify_index}, $leader->{modify_index}, 'but not leader');
	is($beat->(2, $index)->{result}, 'REFUSED', 'a late heartbeat fails');

	$index = $status->{modify_index};
	my $next = ask($client, 'create', 'next', 10000, 0, 5000)->{text};
	$a = ask($client, 'txn',
		[
			[ 'check-index', 's/status', undef, undef, $index ],
			[ 'delete-cas', 's/leader', undef, undef, $leader->{modify_index} ],
			[ 'lock', 's/leader', 'pg2', $next, 0 ],
			[ 'set', 's/status', '{"term":2}', undef, 0 ]
		],
		5000);
	is($a->{result}, 'OK', 'takeover from a holder whose lease is over');
	($status) = grep { $_->{key} eq 's/status' } @{ $a->{keys} };
	$index = $status->{modify_index};
	is($beat->(3, $index)->{result}, 'REFUSED', 'the old one is locked out');
	$a = ask($client, 'txn',
		[
			[ 'check-index', 's/status', undef, undef, $index ],
			[ 'check-session', 's/leader', undef, $next, 0 ],
			[ 'set', 's/status', '{"released":true}', undef, 0 ],
			[ 'delete', 's/leader', undef, undef, 0 ]
		],
		5000);
	is($a->{result}, 'OK', 'release');
	is(ask($client, 'key', 's/leader', JSON::PP::true, 5000)->{result},
		'NOT_FOUND', 'and leader is gone');
	$a = ask($client, 'txn', [ [ 'get', 's/status', undef, undef, 0 ] ], 5000);
	is($a->{keys}[0]{value}, '{"released":true}', 'status says so');
}

sub test_real_stopped
{
	my ($client, $pid) = @_;

	kill 'STOP', $pid;
	my $a = ask($client, 'read', 's/', JSON::PP::true, 300);
	is($a->{result}, 'NO_ANSWER', 'a frozen Consul is no answer');
	cmp_ok($a->{ms}, '<', 2500, 'in time');
	kill 'CONT', $pid;
	wait_until(
		sub {
			ask($client, 'read', 's/', JSON::PP::true, 1000)->{result} eq 'OK';
		},
		'Consul to be back');
	pass('and is heard again when it is back');
}

use POSIX ();

my $liar = start_liar();
test_create_errors();
test_results($liar);
test_request($liar);
test_watch_index($liar);
test_endpoints($liar);
test_times($liar);
test_lies($liar);

SKIP:
{
	my $consul = find_consul();
	skip 'no consul binary', 1 unless defined $consul;

	my ($url, $pid) = start_consul($consul);
	my $client = client($url);
	test_real_keys($client);
	test_real_watch($client);
	test_real_sessions($client);
	test_real_lease($client);
	test_real_stopped($client, $pid);
	ok(finish($client), 'the client ends well');
}

done_testing();
