#!/usr/bin/env perl
# Perl's DBD::Pg on a leash: one JSON request a line comes in, one answer a line goes out.
use strict;
use warnings;

use DBI qw(:sql_types);
use DBD::Pg qw(:pg_types :async);
use JSON::PP;

my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my ($db, @notices);

sub about {
    my ($handle) = @_;
    my ($message, $hint) = ($handle->errstr, undef);
    $hint = $1 if $message =~ /^HINT:  (.*)$/m;
    return { error => { class => 'DBI', sqlstate => $handle->state, message => $message, hint => $hint } };
}

# A value of the driver's, which knows texts mostly, in the form that all drivers answer with.
sub outward {
    my ($value, $type) = @_;
    return undef if !defined $value;
    return $value + 0 if $type eq 'int4' || $type eq 'int8' || $type eq 'float8';
    return $value ? JSON::PP::true : JSON::PP::false if $type eq 'bool';
    return { bytes => unpack 'H*', $value } if $type eq 'bytea';
    return "$1T$2." . substr(($3 // '') . '000', 0, 3) . 'Z'
        if $type eq 'timestamptz' && $value =~ /^(\S+) ([\d:]+)(?:\.(\d+))?\+00$/;
    return "$value";
}

sub bind_all {
    my ($st, $values) = @_;
    my $number = 0;
    for my $value (@$values) {
        $number++;
        if (ref $value eq 'HASH') {
            $st->bind_param($number, pack('H*', $value->{bytes}), { pg_type => PG_BYTEA });
        } elsif (JSON::PP::is_bool($value)) {
            $st->bind_param($number, $value ? 1 : 0, SQL_BOOLEAN);
        } else {
            $st->bind_param($number, $value);
        }
    }
}

sub execute {
    my ($step) = @_;
    my $st = ($step->{prepare} ? $db->prepare_cached($step->{sql}) : $db->prepare($step->{sql})) or return about($db);
    bind_all($st, $step->{values} // []);
    $st->execute or return about($st);
    my ($columns, $rows) = ([], []);
    if ($st->{NUM_OF_FIELDS}) {
        my @types = @{ $st->{pg_type} };
        $columns = [ @{ $st->{NAME} } ];
        while (my @row = $st->fetchrow_array) {
            push @$rows, [ map { outward($row[$_], $types[$_]) } 0 .. $#row ];
        }
    }
    $st->finish;
    return { tag => undef, columns => $columns, rows => $rows };
}

my %operations = (
    connect => sub {
        my ($request) = @_;
        my $where = join ';', "host=127.0.0.1", map { "$_->[0]=$request->{$_->[1]}" }
            ['port', 'port'], ['dbname', 'database'], ['sslmode', 'sslmode'];
        $db = DBI->connect("dbi:Pg:$where", $request->{user}, '',
            { PrintError => 0, PrintWarn => 0, RaiseError => 0, AutoCommit => 1, pg_placeholder_nocolons => 1 })
            or die DBI->errstr;
        return { version => "$DBD::Pg::VERSION" };
    },
    run => sub {
        my ($request) = @_;
        my @heard;
        local $SIG{__WARN__} = sub { push @heard, [ $1, undef, $2 ] if $_[0] =~ /^(\w+):  (.*)/ };
        local $db->{PrintWarn} = 1;
        return { %{ execute($request) }, notices => \@heard };
    },
    several => sub { $db->do($_[0]{sql}) or die $db->errstr; return {} },
    batch => sub {
        my ($request) = @_;
        my $st = $db->prepare($request->{sql});
        my @columns = map { my $at = $_; [ map { $_->[$at] } @{ $request->{rows} } ] } 0 .. $#{ $request->{rows}[0] };
        $st->execute_array({}, @columns) or die $st->errstr;
        return {};
    },
    transaction => sub {
        my ($request) = @_;
        $db->begin_work or die $db->errstr;
        my @answers = map { execute($_) } @{ $request->{steps} };
        $db->rollback or die $db->errstr;
        return { answers => \@answers };
    },
    copy_in => sub {
        my ($request) = @_;
        $db->do("copy $request->{table} from stdin") or die $db->errstr;
        $db->pg_putcopydata("$_\n") for @{ $request->{lines} };
        $db->pg_putcopyend or die $db->errstr;
        return {};
    },
    copy_out => sub {
        my ($request) = @_;
        $db->do("copy ($request->{sql}) to stdout") or die $db->errstr;
        my ($line, @lines) = ('');
        while ($db->pg_getcopydata(\$line) >= 0) {
            chomp(my $copy = $line);
            push @lines, $copy;
        }
        return { lines => \@lines };
    },
    # An asynchronous statement is what the driver can cancel: it waits for the end of it, too.
    cancel => sub {
        my ($request) = @_;
        my $st = $db->prepare($request->{sql}, { pg_async => PG_ASYNC });
        $st->execute or return about($st);
        <STDIN>;
        return $st->pg_cancel ? { error => { class => 'DBI', sqlstate => $db->state } } : { rows => [] };
    },
);

$| = 1;
while (my $line = <STDIN>) {
    my $request = $json->decode($line);
    print $json->encode($operations{ $request->{op} }->($request)), "\n";
}
$db->disconnect if $db;
