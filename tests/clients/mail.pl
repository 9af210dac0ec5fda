# Net::SMTP, Mail::IMAPClient and Net::POP3, each with STARTTLS. Ports: SMTP, IMAP, POP3.
use strict;
use warnings;
use Mail::IMAPClient;
use Net::POP3;
use Net::SMTP;

my ($smtp_port, $imap_port, $pop3_port) = @ARGV;
my @tls = (SSL_ca_file => 'cert.pem', SSL_verifycn_name => 'localhost');

sub deliver {
    my ($subject) = @_;
    my $smtp = Net::SMTP->new('localhost', Port => $smtp_port, Timeout => 25) or die "smtp: $@";
    $smtp->starttls(@tls) or die 'starttls: ', $smtp->message;
    $smtp->auth('ann', 's3cret') or die 'auth: ', $smtp->message;
    $smtp->mail('ann@example.org') or die $smtp->message;
    $smtp->recipient('bob@example.net', 'eve@example.net') or die $smtp->message;
    $smtp->data("Subject: $subject\n", "\n", ".\n", "..\n", "From me\n", "end\n")
        or die 'data: ', $smtp->message;
    $smtp->quit;
}
my $text = ".\r\n..\r\nFrom me\r\nend\r\n";

deliver($_) for qw(one two three);

my $imap = Mail::IMAPClient->new(
    Server => 'localhost', Port => $imap_port, User => 'ann', Password => 's3cret',
    Starttls => [@tls], Timeout => 25, Uid => 1, Peek => 1) or die "imap: $@";
sub ok { my ($got) = @_; defined $got or die $imap->LastError; return $got }
ok($imap->select('INBOX'));
my ($one, $two, $three) = $imap->messages;
die 'not three' unless defined $three;
my $whole = ok($imap->message_string($one));
die "content: $whole" unless $whole eq "Subject: one\r\n\r\n$text";
die 'size' unless $imap->size($one) == length $whole;
die 'peeked and seen' if grep { $_ eq '\\Seen' } $imap->flags($one);
ok($imap->create('P&AOQ-rl'));
ok($imap->move('P&AOQ-rl', $one));
ok($imap->expunge);
ok($imap->append_string('P&AOQ-rl', "Subject: mine\r\n\r\n$text", '\\Seen \\Draft'));
ok($imap->set_flag('Flagged', $two));
ok($imap->set_flag('later', $two));
my @found = $imap->search('KEYWORD', 'later');
die "found @found" unless "@found" eq $two;
die 'folders' unless join(',', sort $imap->folders) eq 'INBOX,P&AOQ-rl';

# IDLE hears of what another process takes.
my $tag = ok($imap->idle);
deliver('news');
my $heard = '';
for (1 .. 25) {
    $heard .= join '', @{ $imap->idle_data(1) || [] };
    last if $heard =~ /\* 3 EXISTS/;
}
die "heard: $heard" unless $heard =~ /\* 3 EXISTS/;
ok($imap->done($tag));
ok($imap->logout);

my $pop3 = Net::POP3->new('localhost', Port => $pop3_port, Timeout => 25) or die "pop3: $@";
$pop3->starttls(@tls) or die 'stls: ', $pop3->message;
die 'login' unless $pop3->login('ann', 's3cret') == 3;
my $got = join '', @{ $pop3->get(2) };
s/\r//g for $got, $text;
die "content: $got" unless $got eq "Subject: three\n\n$text";
$pop3->delete(2) or die $pop3->message;
$pop3->quit;
