//! The way there: proxies and routes; and being a proxy.

use super::place::{is_number, port, quoted, usage};
use crate::cli::args::Args;
use crate::cli::{Environment, text};
use crate::error::Error;
use crate::modes::proxy::Proxying;
use crate::modes::via::{self, Dns, Proxy};
use crate::net::target::Written;
use crate::proto::sasl::{Credentials, Secret};

pub(super) fn once<'a>(option: &str, values: &'a [String]) -> Result<Option<&'a str>, Error> {
    match values {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        _ => Err(usage(format!("{option} is given more than once"))),
    }
}

/// The hosts of `-g`.
pub(super) fn hops(args: &Args) -> Result<Vec<String>, Error> {
    const MOST: usize = 8;
    let hops = listed(&args.hops);
    if hops.is_empty() {
        return Ok(hops);
    }
    if hops.iter().any(String::is_empty) {
        let typed = quoted(&args.hops.join(","));
        return Err(usage(format!("-g has a hop missing between its commas: {typed}")));
    }
    if hops.len() > MOST {
        return Err(usage(format!("-g takes {MOST} hops at most, and there are {}", hops.len())));
    }
    if args.unixsock {
        return Err(usage("-U and -g do not go together: a Unix socket has no route"));
    }
    if !args.v4 {
        return Err(usage("-g is for IPv4 only").hint("say so with -4"));
    }
    Ok(hops)
}

/// The pointer of `-G`.
pub(super) fn hop_pointer(args: &Args) -> Result<u8, Error> {
    match args.hop_pointer.as_deref() {
        None => Ok(4),
        Some(typed) => match typed.parse() {
            Ok(pointer @ 4..=28) if pointer % 4 == 0 && is_number(typed) => Ok(pointer),
            _ => Err(usage(format!("-G is one of 4, 8, 12 ... 28, not {}", quoted(typed)))),
        },
    }
}

pub(super) fn proxy_dns(args: &Args) -> Result<Dns, Error> {
    match args.proxy_dns.as_deref() {
        None | Some("remote") => Ok(Dns::Remote),
        Some("none") => Ok(Dns::None),
        Some("local") => Ok(Dns::Local),
        Some("both") => Ok(Dns::Both),
        Some(other) => {
            Err(usage(format!("--proxy-dns is none, local, remote or both, not {}", quoted(other))))
        }
    }
}

pub(super) fn proxy_kind(typed: &str) -> Option<via::Kind> {
    match typed {
        "http" => Some(via::Kind::Http),
        "socks4" | "4" => Some(via::Kind::Socks4),
        "socks5" | "5" => Some(via::Kind::Socks5),
        _ => None,
    }
}

/// The way to the target: proxies separated by commas, the nearest first.
pub(super) fn proxies(args: &Args, environment: &Environment) -> Result<Vec<Proxy>, Error> {
    let kind = match once("--proxy-type", &args.proxy_type)? {
        None => via::Kind::Http,
        Some(typed) => proxy_kind(typed).ok_or_else(|| {
            usage(format!("--proxy-type is http, socks4 or socks5, not {}", quoted(typed)))
        })?,
    };
    let auth = once("--proxy-auth", &args.proxy_auth)?;
    let Some(list) = once("--proxy", &args.proxy)? else {
        if !args.proxy_type.is_empty() && !args.listen {
            return Err(usage("--proxy-type goes with --proxy: of which proxy is it the type?"));
        }
        return Ok(Vec::new());
    };
    let auth = match (auth, &environment.proxy_auth) {
        (Some(auth), _) => Some(auth),
        (None, Some(value)) => Some(text(value)?),
        (None, None) => None,
    };
    if list.split(',').any(str::is_empty) {
        let typed = quoted(list);
        return Err(usage(format!("--proxy has a proxy missing between its commas: {typed}")));
    }
    list.split(',').map(|typed| proxy(typed, kind, auth)).collect()
}

pub(super) fn proxy(typed: &str, kind: via::Kind, auth: Option<&str>) -> Result<Proxy, Error> {
    let (kind, place) = match typed.split_once("://") {
        None => (kind, typed),
        Some((scheme, place)) => {
            let kind = match scheme.to_ascii_lowercase().as_str() {
                "http" => via::Kind::Http,
                "socks4" | "socks4a" => via::Kind::Socks4,
                "socks" | "socks5" | "socks5h" => via::Kind::Socks5,
                _ => {
                    return Err(usage(format!(
                        "{} is not a kind of proxy: http socks4 socks4a socks5 socks5h",
                        quoted(scheme)
                    )));
                }
            };
            (kind, place.strip_suffix('/').unwrap_or(place))
        }
    };
    let (user, place) = match place.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, place),
    };
    if user.is_some_and(|user| user.contains(':')) {
        return Err(usage("a password in a URL would show in the list of processes")
            .hint("NCAT_PROXY_AUTH=USER:PASS keeps it to yourself"));
    }
    let Written::Host { host: Some(host), port: written, .. } =
        Written::parse(place).map_err(|why| usage(format!("--proxy: {why}")))?
    else {
        return Err(usage(format!("--proxy takes HOST[:PORT], not {}", quoted(typed))));
    };
    let port = match (written, kind) {
        (Some(text), _) => match port(&text).map_err(|e| e.about("--proxy"))? {
            0 => return Err(usage("--proxy: nobody can be called on port 0")),
            port => port,
        },
        (None, via::Kind::Http) => 3128,
        (None, via::Kind::Socks4 | via::Kind::Socks5) => 1080,
    };
    let login = match (auth, user) {
        (None, None) => None,
        (None, Some(user)) => Some((user, "")),
        // The whole text is the user id of SOCKS4, which has no passwords.
        (Some(auth), _) if kind == via::Kind::Socks4 => Some((auth, "")),
        (Some(auth), _) => Some(auth.split_once(':').unwrap_or((auth, ""))),
    };
    Ok(Proxy {
        kind,
        host: host.as_str().to_owned(),
        port,
        login: login.map(|(user, password)| Credentials {
            user: user.to_owned(),
            password: Secret::new(password),
        }),
    })
}

pub(super) fn proxying(args: &Args, environment: &Environment) -> Result<Option<Proxying>, Error> {
    let Some(typed) = once("--proxy-type", &args.proxy_type)? else { return Ok(None) };
    let kind = proxy_kind(typed).ok_or_else(|| {
        usage(format!("a proxy server speaks http, socks4 or socks5, not {}", quoted(typed)))
    })?;
    let auth = match (once("--proxy-auth", &args.proxy_auth)?, &environment.proxy_auth) {
        (Some(auth), _) => Some(auth),
        (None, Some(value)) => Some(text(value)?),
        (None, None) => None,
    };
    let login = auth.map(|auth| {
        let (user, password) = auth.split_once(':').unwrap_or((auth, ""));
        Credentials { user: user.to_owned(), password: Secret::new(password) }
    });
    Ok(Some(Proxying { kind, login }))
}

/// Lists separated by commas, and repeated.
pub(super) fn listed(values: &[String]) -> Vec<String> {
    values.iter().flat_map(|value| value.split(',')).map(str::to_owned).collect()
}
