// Jakarta Mail against our servers: sends over SMTP, reads by IMAP, hears of news in IDLE, and
// deletes by POP3. It is given the ports of SMTP, IMAP (both with STARTTLS) and POP3 over TLS.

import com.sun.mail.imap.IMAPFolder;
import com.sun.mail.imap.IMAPStore;
import jakarta.mail.*;
import jakarta.mail.event.MessageCountAdapter;
import jakarta.mail.event.MessageCountEvent;
import jakarta.mail.internet.*;
import jakarta.mail.search.SubjectTerm;
import java.util.Arrays;
import java.util.Properties;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

class Mail {
    static final String TEXT = ".\r\n..\r\nFrom me\r\nGr\u00fcezi\r\n";
    static final byte[] OCTETS = {0, (byte) 255, 13, 10, '.', 10};

    static Session session(String protocol, String port) {
        Properties properties = new Properties();
        String of = "mail." + protocol + ".";
        properties.setProperty(of + "host", "localhost");
        properties.setProperty(of + "port", port);
        properties.setProperty(of + "timeout", "25000");
        properties.setProperty(of + "connectiontimeout", "25000");
        properties.setProperty(of + "ssl.trust", "localhost");
        properties.setProperty(of + "auth", "true");
        if (!protocol.endsWith("s")) {
            properties.setProperty(of + "starttls.enable", "true");
            properties.setProperty(of + "starttls.required", "true");
        }
        return Session.getInstance(properties);
    }

    static void check(boolean holds, Object told) {
        if (!holds) throw new AssertionError(told);
    }

    static void send(String port, String subject) throws Exception {
        Session session = session("smtp", port);
        MimeMessage message = new MimeMessage(session);
        message.setFrom("ann@example.org");
        message.setRecipients(Message.RecipientType.TO, "bob@example.net, eve@example.net");
        message.setSubject(subject, "UTF-8");
        MimeBodyPart text = new MimeBodyPart();
        text.setText(TEXT, "UTF-8");
        MimeBodyPart file = new MimeBodyPart();
        file.setFileName("\u00e4.bin");
        file.setContent(OCTETS, "application/octet-stream");
        message.setContent(new MimeMultipart(text, file));
        Transport transport = session.getTransport("smtp");
        transport.connect("ann", "s3cret");
        transport.sendMessage(message, message.getAllRecipients());
        transport.close();
    }

    public static void main(String[] ports) throws Exception {
        send(ports[0], "\u00fcber");
        IMAPStore store = (IMAPStore) session("imap", ports[1]).getStore("imap");
        store.connect("ann", "s3cret");
        IMAPFolder inbox = (IMAPFolder) store.getFolder("INBOX");
        inbox.open(Folder.READ_WRITE);

        Message[] found = inbox.search(new SubjectTerm("\u00fcber"));
        check(found.length == 1, found.length + " messages of this subject");
        Multipart parts = (Multipart) found[0].getContent();
        check(parts.getCount() == 2, parts.getCount());
        check(parts.getBodyPart(0).getContent().equals(TEXT), parts.getBodyPart(0).getContent());
        byte[] octets = parts.getBodyPart(1).getInputStream().readAllBytes();
        check(Arrays.equals(octets, OCTETS), Arrays.toString(octets));
        check(parts.getBodyPart(1).getFileName().equals("\u00e4.bin")
            || MimeUtility.decodeText(parts.getBodyPart(1).getFileName()).equals("\u00e4.bin"),
            parts.getBodyPart(1).getFileName());
        check(found[0].isSet(Flags.Flag.SEEN), "what was read is seen");

        Flags marks = new Flags("later");
        marks.add(Flags.Flag.FLAGGED);
        found[0].setFlags(marks, true);
        Folder sent = store.getFolder("Gesch\u00e4ft/Gesendet");
        check(sent.create(Folder.HOLDS_MESSAGES), "it can be made");
        inbox.copyMessages(found, sent);
        check(sent.getMessageCount() == 1, sent.getMessageCount());
        found[0].setFlag(Flags.Flag.DELETED, true);
        inbox.expunge();

        // IDLE, while another process takes a message.
        int before = inbox.getMessageCount();
        BlockingQueue<Message> heard = new LinkedBlockingQueue<>();
        inbox.addMessageCountListener(new MessageCountAdapter() {
            @Override public void messagesAdded(MessageCountEvent event) {
                heard.add(event.getMessages()[0]);
            }
        });
        Thread sender = new Thread(() -> {
            try {
                send(ports[0], "news");
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
        });
        sender.start();
        while (inbox.getMessageCount() == before) inbox.idle(true);
        sender.join();
        // Listeners have a thread of their own.
        Message news = heard.poll(25, TimeUnit.SECONDS);
        check(news != null && "news".equals(news.getSubject()), news);
        inbox.close(false);
        store.close();

        Store drop = session("pop3s", ports[2]).getStore("pop3s");
        drop.connect("ann", "s3cret");
        Folder letters = drop.getFolder("INBOX");
        letters.open(Folder.READ_WRITE);
        for (Message letter : letters.getMessages()) {
            System.out.println(letter.getSubject());
            if ("news".equals(letter.getSubject())) {
                Multipart all = (Multipart) letter.getContent();
                check(all.getBodyPart(0).getContent().equals(TEXT), all.getBodyPart(0).getContent());
                letter.setFlag(Flags.Flag.DELETED, true);
            }
        }
        letters.close(true);
        drop.close();
    }
}
