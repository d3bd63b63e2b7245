# SPDX-License-Identifier: MIT
#
# words.pl - perl: hashes of lists, regular expressions, string building, sorting. Prints counts and a checksum.
use strict;
use warnings;

my $state = 99;
sub rnd { my ($bound) = @_; $state = ($state * 1103515245 + 12345) % 4294967296; return ($state >> 8) % $bound; }

my @syllables = qw(an be cu dor el fi gam hu is jo);
my %places;
my @lines;
for my $number (1 .. 12000) {
    my $line = join ' ', map { join '', map { $syllables[rnd(10)] } 0 .. rnd(3) } 0 .. 7;
    push @lines, $line;
    push @{ $places{$_} }, $number for split / /, $line;
}
my %changed;
for my $line (@lines) {
    (my $copy = $line) =~ s/(\w+)el(\w*)/<$2$1>/g;
    $changed{ length $copy }{$copy}++ if $copy ne $line;
}
delete $places{$_} for grep { @{ $places{$_} } < 3 } keys %places;
my @top = sort { @{ $places{$b} } <=> @{ $places{$a} } || $a cmp $b } keys %places;
my $report = join "\n", map { "$_: " . join(',', @{ $places{$_} }) } @top;
my $kinds = 0;
$kinds += keys %{ $changed{$_} } for keys %changed;
printf "%d words, %s, %d lines changed, %d bytes, sum %d\n", scalar @top, $top[0], $kinds, length $report,
    unpack('%32C*', $report);
