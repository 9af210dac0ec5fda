// What a beginner writes: one line is read for each that is sent, whatever the server says, and
// then the socket is closed with replies unread. It is given the ports of SMTP, POP3 and IMAP.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.net.Socket;

class OneLine {
    static void talk(String port, String... lines) throws Exception {
        try (Socket socket = new Socket("localhost", Integer.parseInt(port))) {
            socket.setSoTimeout(25000);
            BufferedReader in = new BufferedReader(new InputStreamReader(socket.getInputStream()), 1);
            PrintWriter out = new PrintWriter(socket.getOutputStream(), true);
            in.readLine();
            for (String line : lines) {
                out.print(line + "\r\n");
                out.flush();
                // An empty line and the text of a message are answered by nobody.
                if (!line.startsWith("Subject:") && !line.isEmpty() && !line.startsWith("-")) {
                    in.readLine();
                }
            }
        }
    }

    public static void main(String[] ports) throws Exception {
        for (int n = 0; n < 25; n++) {
            talk(ports[0], "EHLO localhost", "MAIL FROM:<a@b>", "RCPT TO:<c@d>", "DATA",
                "Subject: " + n, "", "-- text", ".", "QUIT");
            talk(ports[1], "CAPA", "USER ann", "PASS s3cret", "LIST", "UIDL", "QUIT");
            talk(ports[2], "1 CAPABILITY", "2 LOGIN ann s3cret", "3 SELECT INBOX",
                "4 FETCH 1:* (UID ENVELOPE)", "5 LOGOUT");
        }
    }
}
