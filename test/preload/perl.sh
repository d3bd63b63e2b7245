#!/bin/bash
# SPDX-License-Identifier: MIT
#
# perl.sh - perl on Ashlar: hashes, sort, regular expressions, closures, fork, deep structures.
# shellcheck source=test/support/lib.sh
source "$ROOT/test/support/lib.sh"

cat >"$TMPDIR/work.pl" <<'SCRIPT'
use strict;
use warnings;
$| = 1;
my %count;
my $state = 42;
sub draw { $state = ($state * 1103515245 + 12345) % 2147483648; return $state }
for (1 .. 200000) { $count{ "key" . (draw() % 20000) }++ }
my @keys = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
print "keys ", scalar(@keys), " first $keys[0] $count{$keys[0]} last $keys[-1]\n";
delete $count{$_} for @keys[ 0 .. $#keys / 2 ];
print "left ", scalar(keys %count), "\n";
my $text = join ' ', map { "word$_ " . ( 'x' x ( $_ % 50 ) ) } 1 .. 20000;
my $words = () = $text =~ /\bword\d+\b/g;
( my $copy = $text ) =~ s/word(\d+)/"w" . $1 * 2/ge;
print "words $words length ", length($copy), "\n";
my $tree = {};
for my $i ( 1 .. 20000 ) { $tree->{ $i % 10 }{ $i % 100 }{$i} = [ $i, "v$i", { n => $i } ] }
my $sum = 0;
for my $a ( sort keys %$tree ) { for my $b ( sort keys %{ $tree->{$a} } ) { $sum += $_->[2]{n} for values %{ $tree->{$a}{$b} } } }
print "sum $sum\n";
my @closures = map { my $n = $_; sub { $n * shift } } 1 .. 10000;
my $total = 0;
$total += $_->(3) for @closures;
print "total $total\n";
my $string = '';
$string .= chr( 65 + $_ % 26 ) x 7 for 1 .. 100000;
print "string ", length($string), " ", unpack( '%32C*', $string ), "\n";
for my $i ( 1 .. 20 ) {
    my $pid = fork();
    die "fork: $!" unless defined $pid;
    if ( $pid == 0 ) { my %own = %count; my @s = sort { $a cmp $b } keys %own; print "child $i ", scalar(@s), "\n"; exit 0 }
    waitpid $pid, 0;
    die "child $i: $?" if $?;
}
print "done\n";
SCRIPT

same_on_ashlar perl 200000 perl "$TMPDIR/work.pl"
check "perl: sum is right" grep -qx "sum $((20000 * 20001 / 2))" "$TMPDIR/perl.default.out"
finish
