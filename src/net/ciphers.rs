//! `--ssl-ciphers`: OpenSSL's cipher strings, over the suites that rustls has.

use rustls::SupportedCipherSuite;
use rustls::crypto::CryptoProvider;

/// OpenSSL's name of each suite, its IANA name, and the group words that it answers to.
const SUITES: [(&str, &str, &[&str]); 9] = [
    ("TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384", &["AES", "AES256", "AESGCM", "TLSv1.3"]),
    ("TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256", &["AES", "AES128", "AESGCM", "TLSv1.3"]),
    ("TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256", &["CHACHA20", "TLSv1.3"]),
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        &["ECDHE", "ECDSA", "AES", "AES256", "AESGCM", "TLSv1.2"],
    ),
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        &["ECDHE", "ECDSA", "AES", "AES128", "AESGCM", "TLSv1.2"],
    ),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        &["ECDHE", "ECDSA", "CHACHA20", "TLSv1.2"],
    ),
    (
        "ECDHE-RSA-AES256-GCM-SHA384",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        &["ECDHE", "RSA", "AES", "AES256", "AESGCM", "TLSv1.2"],
    ),
    (
        "ECDHE-RSA-AES128-GCM-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        &["ECDHE", "RSA", "AES", "AES128", "AESGCM", "TLSv1.2"],
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        &["ECDHE", "RSA", "CHACHA20", "TLSv1.2"],
    ),
];

/// Words that stand for every suite there is: all of ours are strong and authenticated.
const EVERYTHING: [&str; 6] = ["ALL", "COMPLEMENTOFDEFAULT", "DEFAULT", "HIGH", "FIPS", "AEAD"];

/// Leaves in `provider` what the cipher string asks for, in its order.
///
/// As with OpenSSL, the TLS 1.3 suites stay unless the string names or bans some of them; a word
/// that stands for suites that rustls does not have (`aNULL`, `RC4`) stands for none.
///
/// # Errors
/// A sentence, if nothing would be left.
pub fn restrict(provider: &mut CryptoProvider, string: &str) -> Result<(), String> {
    let chosen = choose(string);
    let suites: Vec<SupportedCipherSuite> = chosen
        .iter()
        .filter_map(|&i| {
            let iana = SUITES[i].1;
            provider.cipher_suites.iter().find(|suite| {
                suite.suite().as_str().is_some_and(|s| s.replace("TLS13_", "TLS_") == iana)
            })
        })
        .copied()
        .collect();
    if suites.is_empty() {
        return Err(format!(
            "no cipher suite is left by \"{string}\"; there are: {}",
            SUITES.map(|(openssl, ..)| openssl).join(" ")
        ));
    }
    provider.cipher_suites = suites;
    Ok(())
}

fn choose(string: &str) -> Vec<usize> {
    let mut chosen: Vec<usize> = Vec::new();
    let mut banned: Vec<usize> = Vec::new();
    let mut names_tls13 = false;
    for item in string.split([':', ',', ' ', ';']).filter(|i| !i.is_empty()) {
        // @STRENGTH and @SECLEVEL=2 have nothing to sort or to forbid here.
        if item.starts_with('@') {
            continue;
        }
        let (sign, word) = match item.as_bytes()[0] {
            sign @ (b'!' | b'-' | b'+') => (sign, &item[1..]),
            _ => (b' ', item),
        };
        let meant: Vec<usize> = (0..SUITES.len()).filter(|&i| answers(i, word)).collect();
        match sign {
            b'!' => {
                banned.extend(&meant);
                chosen.retain(|i| !meant.contains(i));
            }
            b'-' => chosen.retain(|i| !meant.contains(i)),
            b'+' => {
                let (moved, stay) = chosen.iter().partition(|i| meant.contains(i));
                let (moved, mut stay): (Vec<usize>, Vec<usize>) = (moved, stay);
                stay.extend(moved);
                chosen = stay;
            }
            _ => {
                names_tls13 |= meant.iter().any(|&i| is_tls13(i));
                for i in meant.into_iter().filter(|i| !banned.contains(i)) {
                    if !chosen.contains(&i) {
                        chosen.push(i);
                    }
                }
            }
        }
    }
    if !names_tls13 && !chosen.is_empty() {
        let tls13 = (0..SUITES.len()).filter(|&i| is_tls13(i) && !banned.contains(&i));
        chosen = tls13.chain(chosen.iter().copied()).collect();
    }
    chosen
}

fn is_tls13(i: usize) -> bool {
    SUITES[i].2.contains(&"TLSv1.3")
}

/// Does suite `i` answer to a name, a group word, or several joined by `+`?
fn answers(i: usize, word: &str) -> bool {
    let (openssl, iana, groups) = SUITES[i];
    openssl.eq_ignore_ascii_case(word)
        || iana.eq_ignore_ascii_case(word)
        || word.split('+').all(|part| {
            let part = match part {
                "EECDH" | "kEECDH" | "kECDHE" => "ECDHE",
                "aRSA" => "RSA",
                "aECDSA" => "ECDSA",
                other => other,
            };
            EVERYTHING.contains(&part) || groups.contains(&part)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(string: &str) -> Vec<&'static str> {
        choose(string).into_iter().map(|i| SUITES[i].0).collect()
    }

    #[test]
    fn groups_names_and_bans_select_as_openssl_does() {
        assert_eq!(names("ALL").len(), 9);
        assert_eq!(names("HIGH:!aNULL:!MD5:@STRENGTH").len(), 9);
        assert!(names("HIGH:!CHACHA20").iter().all(|n| !n.contains("CHACHA20")));
        assert_eq!(names("TLS_AES_128_GCM_SHA256"), ["TLS_AES_128_GCM_SHA256"]);
        let got = names("ECDHE-RSA-AES128-GCM-SHA256");
        assert_eq!(got[3..], ["ECDHE-RSA-AES128-GCM-SHA256"]);
        assert!(got[..3].iter().all(|n| n.starts_with("TLS_")));
        let got = names("ECDHE+AESGCM:!TLSv1.3:!ECDSA");
        assert_eq!(got, ["ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256"]);
        assert_eq!(names("CHACHA20:AES128:+CHACHA20")[0], "TLS_AES_128_GCM_SHA256");
    }

    #[test]
    fn a_string_that_leaves_nothing_is_refused_with_the_list() {
        let mut provider = rustls::crypto::ring::default_provider();
        for string in ["RC4", "NULL-MD5", "ALL:!ALL", "", "bogus"] {
            let error = restrict(&mut provider, string).unwrap_err();
            assert!(error.contains("ECDHE-RSA-CHACHA20-POLY1305"), "{error}");
        }
        assert_eq!(provider.cipher_suites.len(), 9);
        restrict(&mut provider, "AES256+ECDSA:!TLSv1.3").unwrap();
        assert_eq!(provider.cipher_suites.len(), 1);
    }
}
