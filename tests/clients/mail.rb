# net/smtp, net/imap and net/pop. Ports: SMTP and IMAP with STARTTLS, POP3 over TLS.
require 'net/imap'
require 'net/pop'
require 'net/smtp'

SMTP, IMAP, POP = ARGV.map(&:to_i)
TEXT = ".\r\n..\r\nFrom me\r\nGr\u00fcezi\r\n".b

def deliver(subject)
  context = OpenSSL::SSL::SSLContext.new
  context.set_params(ca_file: 'cert.pem')
  smtp = Net::SMTP.new('localhost', SMTP)
  smtp.enable_starttls(context)
  smtp.start('client.test', user: 'ann', secret: 's3cret', authtype: :cram_md5) do |session|
    session.send_message("Subject: #{subject}\r\n\r\n".b + TEXT, 'ann@example.org',
                         'bob@example.net', 'eve@example.net')
  end
end

def check(holds, told)
  raise told.inspect unless holds
end

deliver('one')
deliver('two')
imap = Net::IMAP.new('localhost', port: IMAP)
imap.starttls({ ca_file: 'cert.pem' })
imap.authenticate('CRAM-MD5', 'ann', 's3cret')
imap.select('INBOX')
check(imap.search(%w[SUBJECT two]) == [2], 'search')
got = imap.fetch(1, %w[UID FLAGS ENVELOPE BODYSTRUCTURE RFC822.SIZE BODY.PEEK[]])[0].attr
check(got['BODY[]'].b == "Subject: one\r\n\r\n".b + TEXT, got)
check(got['RFC822.SIZE'] == got['BODY[]'].bytesize, got)
check(got['ENVELOPE'].subject == 'one' && got['BODYSTRUCTURE'].media_type == 'TEXT', got)
folder = Net::IMAP.encode_utf7("R\u00fcbe")
imap.create(folder)
imap.append(folder, "Subject: mine\r\n\r\nx\r\n", [:Seen], Time.at(1_000_000_000))
imap.uid_move(got['UID'], folder)
imap.store(1, '+FLAGS', [:Flagged, 'later'])
status = imap.status(folder, %w[MESSAGES UNSEEN])
check(status == { 'MESSAGES' => 2, 'UNSEEN' => 1 }, status)

# IDLE hears of what another process takes.
sender = nil
imap.idle(25) do |response|
  case response
  when Net::IMAP::ContinuationRequest then sender = Thread.new { deliver('news') }
  when Net::IMAP::UntaggedResponse
    imap.idle_done if response.name == 'EXISTS' && response.data == 2
  end
end
sender.join
check(imap.fetch(2, 'ENVELOPE')[0].attr['ENVELOPE'].subject == 'news', 'news')
imap.logout
imap.disconnect

Net::POP3.enable_ssl(OpenSSL::SSL::VERIFY_PEER, 'cert.pem')
Net::POP3.start('localhost', POP, 'ann', 's3cret') do |pop|
  check(pop.n_mails == 2, pop.n_mails)
  letter = pop.mails[1]
  check(letter.pop.b == "Subject: news\r\n\r\n".b + TEXT, letter.pop)
  letter.delete
end
