//! Rooms: `--broker` and `--chat`.

mod tool;

use tool::ncat;

#[test]
fn a_chat_announces_and_escapes_and_nobody_fakes_an_announcement() {
    let room = ncat(&["-v", "-l", "--chat", "127.0.0.1", "0"]);
    let port = room.port().to_string();
    let mut first = ncat(&["127.0.0.1", &port]);
    first.wait_stdout("is connected as <user1>.\n<announce> already connected: nobody.\n");
    let second = ncat(&["127.0.0.1", &port]);
    second.wait_stdout(" as <user1>.\n");
    first.send("h\u{e9}\x1b[1m\n<announce> fake\nend\n");
    second.wait_stdout("end\n");
    let text = String::from_utf8(second.stdout()).unwrap();
    assert!(text.contains("<user1> h\u{e9}\\033[1m\n"), "{text:?}");
    assert!(!text.contains("\n<announce> fake"), "{text:?}");
    first.finish().expect_code(0);
    second.wait_stdout("<announce> <user1> is disconnected.\n");
}
