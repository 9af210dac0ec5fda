//! Who may call: the host specifications of `--allow` and `--deny`.
//!
//! A specification is an address (`192.0.2.1`, `2001:db8::1`), IPv4 addresses by octet
//! (`192.0.2.1-5,9`, `10.*.0.-127`) or a name, each with `/bits` if that many first bits are all
//! that counts. ncat's program, not its manual, says which list is stronger: `--deny`.
//!
//! Refused, although ncat takes them, because two readers would not agree on who is meant: octets
//! with a leading zero (decimal or octal, CVE-2021-29922), IPv4 addresses in hex or in fewer than
//! four parts, and zones (`fe80::1%eth0`), which would not be compared.

use super::names::{Family, resolve};
use crate::term::safe::quote;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// The longest specification in a file, in bytes (ncat's limit).
const LONGEST: usize = 1023;

/// The lists that a listener was given.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Nobody else may call; an empty list lets nobody in.
    pub allow: Option<List>,
    /// They may not, even if `allow` has them.
    pub deny: Option<List>,
}

impl Access {
    /// May this caller stay? `None` is one without an address, by a Unix socket: no list has it.
    pub fn admits(&self, caller: Option<IpAddr>) -> bool {
        let has = |list: &List| caller.is_some_and(|ip| list.contains(ip));
        self.allow.as_ref().is_none_or(has) && !self.deny.as_ref().is_some_and(has)
    }
}

/// A set of addresses, from specifications.
#[derive(Debug, Clone, Default)]
pub struct List {
    rules: Vec<Rule>,
}

impl List {
    /// Adds one specification. A comma in it belongs to an octet: who takes lists with commas
    /// cuts them before.
    ///
    /// A name is asked for here and now, for addresses of `family`; `numeric` forbids that (`-n`).
    /// Written addresses count whatever their family.
    ///
    /// # Errors
    /// A sentence that names the specification and what is wrong with it.
    pub fn add(&mut self, spec: &str, family: Family, numeric: bool) -> Result<(), String> {
        let rules = rules(spec, family, numeric).map_err(|why| {
            format!("cannot tell which hosts \"{}\" means: {why}", quote(spec.as_bytes(), 80))
        })?;
        self.rules.extend(rules);
        Ok(())
    }

    /// Adds what a file lists, with white space in between.
    ///
    /// # Errors
    /// Those of [`List::add`], with the number of the line; the file is the caller's to name.
    pub fn add_file_text(
        &mut self,
        text: &str,
        family: Family,
        numeric: bool,
    ) -> Result<(), String> {
        for (number, line) in (1..).zip(text.lines()) {
            for spec in line.split_whitespace() {
                if spec.len() > LONGEST {
                    return Err(format!(
                        "line {number}: \"{}\" has {} bytes, and a host specification has \
                         {LONGEST} at most",
                        quote(spec.as_bytes(), 40),
                        spec.len()
                    ));
                }
                self.add(spec, family, numeric).map_err(|why| format!("line {number}: {why}"))?;
            }
        }
        Ok(())
    }

    /// Is this address one of them?
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.rules.iter().any(|rule| rule.has(ip))
    }
}

/// What one specification, or one address of a name, comes to.
#[derive(Debug, Clone)]
enum Rule {
    /// Every address that begins with the same `bits` bits as this one.
    Network { address: IpAddr, bits: u32 },
    /// IPv4 addresses whose every octet is in one of its ranges.
    Octets([Vec<RangeInclusive<u8>>; 4]),
}

impl Rule {
    fn has(&self, ip: IpAddr) -> bool {
        match self {
            Self::Network { address: IpAddr::V4(network), bits } => {
                // A socket for both families shows 192.0.2.1 as ::ffff:192.0.2.1.
                let ip = match ip {
                    IpAddr::V4(ip) => Some(ip),
                    IpAddr::V6(ip) => ip.to_ipv4_mapped(),
                };
                ip.is_some_and(|ip| (network.to_bits() ^ ip.to_bits()).leading_zeros() >= *bits)
            }
            Self::Network { address: IpAddr::V6(network), bits } => match ip {
                IpAddr::V4(_) => false,
                IpAddr::V6(ip) => (network.to_bits() ^ ip.to_bits()).leading_zeros() >= *bits,
            },
            Self::Octets(octets) => match ip {
                IpAddr::V4(ip) => octets
                    .iter()
                    .zip(ip.octets())
                    .all(|(ranges, octet)| ranges.iter().any(|range| range.contains(&octet))),
                // ncat's rule: mapped addresses are in networks, not in ranges. Our listeners
                // are IPv6 only, so no caller has one.
                IpAddr::V6(_) => false,
            },
        }
    }
}

/// Reads one specification; what is wrong with it is half a sentence.
fn rules(spec: &str, family: Family, numeric: bool) -> Result<Vec<Rule>, String> {
    let (host, bits) = match spec.split_once('/') {
        Some((host, bits)) => (host, Some(prefix(bits)?)),
        None => (spec, None),
    };
    if host.is_empty() {
        return Err("the host is missing".to_owned());
    }
    if let Ok(address) = host.parse() {
        return Ok(vec![network(address, bits)?]);
    }
    if let Some((address, zone)) = host.split_once('%')
        && address.contains(':')
    {
        let zone = quote(zone.as_bytes(), 20);
        return Err(format!("a zone is not compared; leave out the \"%{zone}\""));
    }
    if host.contains(':') {
        return Err("it is no IPv6 address".to_owned());
    }
    if host.bytes().all(|b| b.is_ascii_digit() || b".,-*+".contains(&b)) {
        return Ok(vec![octets(host, bits)?]);
    }
    check_name(host)?;
    if numeric {
        return Err("it is a name, and -n allows addresses only".to_owned());
    }
    let found = resolve(host, 0, family, false)?;
    found.iter().map(|address| network(address.ip(), bits)).collect()
}

/// The number behind the `/`.
fn prefix(text: &str) -> Result<u32, String> {
    let number = if is_number(text) { text.parse().ok() } else { None };
    number.ok_or_else(|| "a number of bits must follow the /".to_owned())
}

fn network(address: IpAddr, bits: Option<u32>) -> Result<Rule, String> {
    let width = match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    };
    let bits = bits.unwrap_or(width);
    if bits > width {
        return Err(format!("/{bits} is too much: the address {address} has {width} bits"));
    }
    Ok(Rule::Network { address, bits })
}

/// IPv4 by octet.
fn octets(host: &str, bits: Option<u32>) -> Result<Rule, String> {
    let bits = bits.unwrap_or(32);
    if bits > 32 {
        return Err(format!("/{bits} is too much: IPv4 addresses have 32 bits"));
    }
    let parts: Vec<&str> = host.split('.').collect();
    let [a, b, c, d] = parts[..] else {
        return Err(format!("an IPv4 address has four parts, and this one has {}", parts.len()));
    };
    // How many bits of each octet count.
    let counts = |before: u32| bits.saturating_sub(before).min(8);
    Ok(Rule::Octets([
        octet(a, counts(0))?,
        octet(b, counts(8))?,
        octet(c, counts(16))?,
        octet(d, counts(24))?,
    ]))
}

/// One octet, of which the first `bits` bits count: a range is widened to whole blocks.
fn octet(text: &str, bits: u32) -> Result<Vec<RangeInclusive<u8>>, String> {
    if text == "*" {
        return Ok(vec![0..=255]);
    }
    // Where all eight bits count, there is no rest, and no shift by eight either.
    let rest = 0xff_u8.checked_shr(bits).unwrap_or(0);
    let ranges = text.split(',').map(|range| {
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (end(first, 0)?, end(last, 255)?),
            None => number(range).map(|n| (n, n))?,
        };
        (first <= last).then_some((first & !rest)..=(last | rest))
    });
    ranges.collect::<Option<_>>().ok_or_else(|| {
        format!("\"{text}\" is no part of an IPv4 address: it takes 0 to 255, 1-5, 1,3 or *")
    })
}

/// One end of a range, or the end of all numbers where it is left out.
fn end(text: &str, otherwise: u8) -> Option<u8> {
    if text.is_empty() { Some(otherwise) } else { number(text) }
}

fn number(text: &str) -> Option<u8> {
    let octal = text.len() > 1 && text.starts_with('0');
    if octal || !is_number(text) { None } else { text.parse().ok() }
}

/// Digits and nothing else; std's `parse` takes a plus as well.
fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Keeps from the resolver what is no name, above all what it would take for an address.
fn check_name(host: &str) -> Result<(), String> {
    if !host.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c)) {
        return Err("it is no address, and a name has letters, digits, dots and hyphens".to_owned());
    }
    if host.len() > 255 {
        return Err("a name has 255 bytes at most".to_owned());
    }
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").or(last.strip_prefix("0X"));
    if is_number(last) || hex.is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit())) {
        return Err("an IPv4 address is written as four decimal numbers".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Specifications, who asks, who is in. An `a` in an IPv4 address is every number at once.
    const TABLE: &[(&str, &str, &str)] = &[
        ("", "1.1.1.1 2.2.2.2", ""),
        ("192.168.0.0", "192.168.0.a", "192.168.0.0"),
        (
            "1.2.3.4 1:2:3::4",
            "0.0.0.0 1.2.3.4 :: 1:2:3::4 1:2:3:0::4 f:e:d:c:b::a",
            "1.2.3.4 1:2:3::4 1:2:3:0::4",
        ),
        (
            "192.168.0.1-5",
            "192.168.0.a",
            "192.168.0.1 192.168.0.2 192.168.0.3 192.168.0.4 192.168.0.5",
        ),
        ("192.168.1.1-5", "192.168.0.a", ""),
        ("192.168-168.0.1", "192.168.0.a", "192.168.0.1"),
        ("192.168.3-8.1-5", "192.168.a.a", "192.168.3.3 192.168.4.4 192.168.5.5"),
        ("192.168.-3.0", "192.168.a.0", "192.168.0.0 192.168.1.0 192.168.2.0 192.168.3.0"),
        (
            "192.168.252-.0",
            "192.168.a.0",
            "192.168.252.0 192.168.253.0 192.168.254.0 192.168.255.0",
        ),
        (
            "192.168.-.0",
            "192.168.0.0 192.168.10.0 192.168.100.0 192.168.255.0 192.168.0.1 1.2.3.4",
            "192.168.0.0 192.168.10.0 192.168.100.0 192.168.255.0",
        ),
        (
            "192.168.0.2,3,5,7,11",
            "192.168.0.a",
            "192.168.0.2 192.168.0.3 192.168.0.5 192.168.0.7 192.168.0.11",
        ),
        (
            "192-200,202.0.0.1,3-5",
            "201.0.0.1 202.0.0.1 202.0.0.5 202.0.0.6 192.0.0.3",
            "202.0.0.1 202.0.0.5 192.0.0.3",
        ),
        (
            "192.168.0.*",
            "1.2.3.4 192.168.0.3 192.168.0.200 192.168.0.255 192.161.0.0",
            "192.168.0.3 192.168.0.200 192.168.0.255",
        ),
        (
            "192.*.0.*",
            "1.2.3.4 192.168.0.3 192.168.0.200 192.168.0.255 192.161.0.0",
            "192.168.0.3 192.168.0.200 192.168.0.255 192.161.0.0",
        ),
        (
            "*.1-10,12.*.4-5,6,7",
            "1.2.3.4 4.5.6.7 70.11.4.4 70.10.4.4 255.255.255.255",
            "1.2.3.4 4.5.6.7 70.10.4.4",
        ),
        (
            "192.168.0.0/24",
            "192.168.0.5 192.168.0.90 192.168.1.5 1.2.3.4",
            "192.168.0.5 192.168.0.90",
        ),
        ("1.2.3.4/32", "1.2.3.a", "1.2.3.4"),
        (
            "5.5.5.5/0",
            "0.0.0.0 123.123.123.123 255.255.255.255",
            "0.0.0.0 123.123.123.123 255.255.255.255",
        ),
        (
            "1-5.1-5.1-5.1-5/28",
            "1.2.3.4 1.2.3.5 6.1.2.3 1.2.3.7 1.2.3.0",
            "1.2.3.4 1.2.3.5 1.2.3.7 1.2.3.0",
        ),
        (
            "192.168.0.5,30,191/30",
            "192.168.0.a",
            "192.168.0.4 192.168.0.5 192.168.0.6 192.168.0.7 \
             192.168.0.28 192.168.0.29 192.168.0.30 192.168.0.31 \
             192.168.0.188 192.168.0.189 192.168.0.190 192.168.0.191",
        ),
        (
            "192.168.5,30,191.0/22",
            "192.168.a.0",
            "192.168.4.0 192.168.5.0 192.168.6.0 192.168.7.0 \
             192.168.28.0 192.168.29.0 192.168.30.0 192.168.31.0 \
             192.168.188.0 192.168.189.0 192.168.190.0 192.168.191.0",
        ),
        ("1:2::0003/120", "1:2::3 1:2::0 1:2::ff 1:2::1ff 1:3::3", "1:2::3 1:2::0 1:2::ff"),
        (
            "1:2::3:4:5/95",
            "1:2::3:4:5 1:2::1:ffff:ffff 1:2::2:0:0 1:2::3:ffff:ffff 1:2::4:0:0 1:3::3",
            "1:2::3:4:5 1:2::2:0:0 1:2::3:ffff:ffff",
        ),
        (
            "11::2/15",
            "11::2:3:4:5 9:ffff:ffff:ffff:ffff:ffff:ffff:ffff 10::1 \
             11:ffff:ffff:ffff:ffff:ffff:ffff:ffff 12::0",
            "11::2:3:4:5 10::1 11:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ),
        ("1:2::0003/128", "1:2::3 1:2::2 1:2::4 1:3::3 8001:2::3", "1:2::3"),
        // ncat's /0 was half of IPv6 and all of IPv4 (section 3, item 13).
        (
            "1:2::0003/0",
            "1:2::3 :: ::1 7fff::1 8000::1 ffff::ff 1.2.3.4 0.0.0.0",
            "1:2::3 :: ::1 7fff::1 8000::1 ffff::ff",
        ),
        // Mapped addresses: in networks, not in ranges; IPv6 says nothing about IPv4.
        ("1.2.3.4", "::ffff:1.2.3.4 ::ffff:1.2.3.5 ::1.2.3.4", "::ffff:1.2.3.4"),
        ("1.2.3.4/24", "::ffff:1.2.3.9 ::ffff:1.2.4.9", "::ffff:1.2.3.9"),
        ("1.2.3.4/0", "::ffff:9.9.9.9 ::1", "::ffff:9.9.9.9"),
        ("1.2.3.1-4", "::ffff:1.2.3.4 1.2.3.4", "1.2.3.4"),
        ("1.2.3.1-4/24", "::ffff:1.2.3.4 1.2.3.9", "1.2.3.9"),
        ("::ffff:1.2.3.4", "1.2.3.4 ::ffff:1.2.3.4", "::ffff:1.2.3.4"),
        ("::ffff:0:0/96", "1.2.3.4 ::ffff:1.2.3.4", "::ffff:1.2.3.4"),
        // A mask in the middle of an octet widens a range to whole blocks, and `*` stays all.
        ("10.0.0.*/9", "10.127.9.9 10.128.0.0 11.0.0.0", "10.127.9.9"),
        ("10-10.3-4.0.0/14", "10.0.0.0 10.7.255.255 10.8.0.0 9.3.0.0", "10.0.0.0 10.7.255.255"),
    ];

    const REFUSED: &[&str] = &[
        ".",
        "-",
        ",",
        "1.2.3.4,",
        ",1.2.3.4",
        "1.2.3.4.5",
        "1:2:3:4:5:6:7:8:9",
        "11::22::33",
        "256.256.256.256",
        "FFFFF::FFFFF",
        "10-5.2.3.4",
        "*10.10.10.10",
        "5-10-15.10.10.10",
        "-10-15.10.10.10",
        "10-15-.10.10.10",
        ",.6.7.8",
        "5,.5.5.5",
        ",5.5.5.5",
        "+1.2.3.4",
        "+1.+2.+3.+4",
        "1.2.3.4/",
        "1.2.3.4/33",
        "1.2.3.4/+24",
        "1.2.3.4/24abc",
        "1.2.3.4//24",
        "1.2.3.4/-0",
        "FF::FF/129",
        // Not in ncat's list, and for the same reasons.
        "",
        "/24",
        "1.2.3.4/99999999999",
        "1.2.3.1-4/33",
        "1.2.3.1,*",
        "1.2.3.300-",
        "[::1]",
        "1.2.3.4 ",
        "user@host",
        "a\0b",
        "a\x1b[2Jb",
        "#",
        // Addresses to some, and not the same ones to all.
        "010.0.0.1",
        "192.168.0.001-005",
        "1.2",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "1.2.3.0XF",
        "fe80::1%lo",
    ];

    fn list(specs: &str) -> List {
        let mut list = List::default();
        for spec in specs.split_whitespace() {
            list.add(spec, Family::Any, true).unwrap_or_else(|error| panic!("{error}"));
        }
        list
    }

    fn addresses(text: &str) -> Vec<IpAddr> {
        let of = |word: &str| -> Vec<IpAddr> {
            match word.contains('.') && word.contains('a') {
                true => (0..=255).map(|n| word.replace('a', &n.to_string())).collect(),
                false => vec![word.to_owned()],
            }
            .iter()
            .map(|word| word.parse().unwrap())
            .collect()
        };
        text.split_whitespace().flat_map(of).collect()
    }

    #[test]
    fn every_row_of_the_table_has_its_members_and_no_others() {
        for (specs, candidates, members) in TABLE {
            let list = list(specs);
            let found: Vec<_> =
                addresses(candidates).into_iter().filter(|&ip| list.contains(ip)).collect();
            assert_eq!(found, addresses(members), "{specs}");
        }
    }

    #[test]
    fn case_and_padding_of_ipv6_do_not_matter() {
        let list = list("fe80::202:e3ff:fe14:1102");
        let found: Vec<_> = (0..=0xff)
            .filter(|n| {
                let ip = format!("FE80:0000:0000:0000:0202:E3{n:02X}:FE14:1102");
                list.contains(ip.parse().unwrap())
            })
            .collect();
        assert_eq!(found, [0xff]);
    }

    #[test]
    fn every_prefix_of_both_families_ends_where_it_says() {
        for bits in 0..=128_u32 {
            let list = list(&format!("5555:5555:5555:5555:5555:5555:5555:5555/{bits}"));
            let own = 0x5555_5555_5555_5555_5555_5555_5555_5555_u128;
            for other in 0..128 {
                let ip = std::net::Ipv6Addr::from_bits(own ^ (1 << (127 - other)));
                assert_eq!(list.contains(ip.into()), other >= bits, "/{bits} {ip}");
            }
        }
        for bits in 0..=32_u32 {
            // Once as a network, once octet by octet.
            for host in ["85.85.85.85", "85-85.85.85.85"] {
                let list = list(&format!("{host}/{bits}"));
                for other in 0..32 {
                    let ip = std::net::Ipv4Addr::from_bits(0x5555_5555 ^ (1 << (31 - other)));
                    assert_eq!(list.contains(ip.into()), other >= bits, "{host}/{bits} {ip}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_specification_is_refused_by_name() {
        for spec in REFUSED {
            // Without -n: not even the resolver may make something of it.
            let error = List::default().add(spec, Family::Any, false).unwrap_err();
            let named = format!("\"{}\" means: ", quote(spec.as_bytes(), 80));
            assert!(error.contains(&named), "{error}");
            assert!(!error.contains(char::is_control), "{error:?}");
            assert!(!error.contains("service not known"), "the resolver was asked: {error}");
        }
    }

    #[test]
    fn a_name_stands_for_its_addresses() {
        let mut names = List::default();
        names.add("localhost", Family::V4, false).unwrap();
        assert!(names.contains([127, 0, 0, 1].into()));
        assert!(!names.contains([127, 0, 0, 2].into()));

        let mut names = List::default();
        names.add("localhost/30", Family::V4, false).unwrap();
        assert!(names.contains([127, 0, 0, 2].into()));
        assert!(!names.contains([127, 0, 0, 4].into()));

        let mut names = List::default();
        names.add("localhost/0", Family::V4, false).unwrap();
        assert!(names.contains([203, 0, 113, 9].into()));
        assert!(!names.contains("2001:db8::1".parse().unwrap()));

        let error = List::default().add("localhost/33", Family::V4, false).unwrap_err();
        assert!(error.contains("127.0.0.1 has 32 bits"), "{error}");
    }

    #[test]
    fn names_obey_n_and_addresses_obey_no_family() {
        let error = List::default().add("localhost", Family::Any, true).unwrap_err();
        assert_eq!(
            error,
            "cannot tell which hosts \"localhost\" means: it is a name, and -n allows addresses only"
        );
        let mut list = List::default();
        list.add("::1", Family::V4, false).unwrap();
        list.add("127.0.0.1", Family::V6, false).unwrap();
        assert!(list.contains("::1".parse().unwrap()) && list.contains([127, 0, 0, 1].into()));
    }

    #[test]
    fn a_file_has_white_space_between_its_specifications() {
        let mut list = List::default();
        list.add_file_text("10.0.0.1,3\t::1\r\n\n \x0b192.0.2.0/24\x0c\n", Family::Any, true)
            .unwrap();
        for ip in addresses("10.0.0.1 10.0.0.3 ::1 192.0.2.77") {
            assert!(list.contains(ip), "{ip}");
        }
        assert!(!list.contains([10, 0, 0, 2].into()));
        List::default().add_file_text("", Family::Any, true).unwrap();
    }

    #[test]
    fn a_bad_line_is_named_by_its_number() {
        let read = |text: &str| List::default().add_file_text(text, Family::Any, true);
        assert_eq!(
            read("1.2.3.4\n\n::1 1.2.3.4/33\n").unwrap_err(),
            "line 3: cannot tell which hosts \"1.2.3.4/33\" means: \
             /33 is too much: the address 1.2.3.4 has 32 bits"
        );
        let longest = format!("1.2.3.{}", ["4"; 509].join(","));
        assert_eq!(longest.len(), LONGEST);
        read(&longest).unwrap();
        let error = read(&format!("\n{longest}4")).unwrap_err();
        assert!(error.starts_with("line 2: \"1.2.3.4,4,") && error.contains("1024"), "{error}");
    }

    #[test]
    fn deny_wins_and_a_caller_without_address_is_on_no_list() {
        let some = |specs| Some(list(specs));
        let in_both = Some([10, 0, 0, 1].into());
        let allowed = Some([10, 0, 0, 2].into());
        let stranger = Some([192, 0, 2, 1].into());
        for (allow, deny, admitted) in [
            (None, None, [true, true, true, true]),
            (some("10.0.0.0/8"), None, [true, true, false, false]),
            (None, some("10.0.0.1"), [false, true, true, true]),
            (some("10.0.0.0/8"), some("10.0.0.1"), [false, true, false, false]),
            (some("10.0.0.1"), some("10.0.0.0/8"), [false, false, false, false]),
            (some(""), None, [false, false, false, false]),
            (None, some(""), [true, true, true, true]),
            (None, some("0.0.0.0/0 ::/0"), [false, false, false, true]),
        ] {
            let access = Access { allow, deny };
            let found = [in_both, allowed, stranger, None].map(|caller| access.admits(caller));
            assert_eq!(found, admitted, "{access:?}");
        }
    }
}
