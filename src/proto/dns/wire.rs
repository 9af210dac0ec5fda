//! The bytes of DNS, by the crate `domain`; nothing else names it but the name type above.

use super::{Answer, Data, Failure, Name, Question, Type};
use domain::base::iana::{Class, OptRcode, Rtype};
use domain::base::message::Message;
use domain::base::name::ToName;
use domain::base::rdata::{ParseRecordData, RecordData};
use domain::base::record::ParsedRecord;
use domain::base::wire::ParseError;
use domain::base::{MessageBuilder, ParsedName};
use domain::dep::octseq::parse::Parser;
use domain::rdata::{A, Aaaa, Cname, Mx, Ns, Ptr, Soa, Srv, Txt};
use std::fmt;

/// The largest answer over UDP that we ask for: it passes every network in one piece (the
/// recommendation of DNS Flag Day 2020).
const LARGEST_DATAGRAM: u16 = 1232;

/// More aliases than that in one answer are no good will (BIND follows 16).
const MOST_ALIASES: usize = 16;

/// A question in bytes; with `edns` the answer may have 1232 bytes instead of 512.
pub fn query(id: u16, question: &Question, edns: bool) -> Vec<u8> {
    const FITS: &str = "a question fits into a message that has no limit";
    let mut message = MessageBuilder::new_vec();
    message.header_mut().set_id(id);
    message.header_mut().set_rd(true);
    let mut message = message.question();
    message.push((&question.name.0, number(question.kind))).expect(FITS);
    let mut message = message.additional();
    if edns {
        let size = |opt: &mut domain::base::message_builder::OptBuilder<'_, Vec<u8>>| {
            opt.set_udp_payload_size(LARGEST_DATAGRAM);
            Ok(())
        };
        message.opt(size).expect(FITS);
    }
    message.finish()
}

/// The same for TCP: with its length in front (RFC 1035 §4.2.2).
pub fn framed(query: &[u8]) -> Vec<u8> {
    let length = u16::try_from(query.len()).expect("a question is no longer than its name");
    [&length.to_be_bytes(), query].concat()
}

/// What a message turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// The answer did not fit: it has to be asked for over TCP.
    Truncated,
    /// The answer.
    Answer(Answer),
    /// The server does not say.
    Failed(Failure),
}

/// Why a message is not the answer that we wait for, so that waiting goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignored {
    /// No DNS message, or one that is broken.
    Malformed,
    /// A question, or another kind of message.
    NoAnswer,
    /// It has another id.
    WrongId,
    /// It repeats another question.
    WrongQuestion,
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ignored::Malformed => "a message that cannot be read",
            Ignored::NoAnswer => "a message that is no answer",
            Ignored::WrongId => "an answer with the wrong id",
            Ignored::WrongQuestion => "an answer to another question",
        })
    }
}

/// Reads the answer to `question`, which was sent with this `id`.
///
/// # Errors
/// Why it is none.
pub fn read(message: &[u8], id: u16, question: &Question) -> Result<Reading, Ignored> {
    let message = Message::from_slice(message).map_err(|_| Ignored::Malformed)?;
    let header = message.header();
    if header.id() != id {
        return Err(Ignored::WrongId);
    }
    if !header.qr() || header.opcode() != domain::base::iana::Opcode::QUERY {
        return Err(Ignored::NoAnswer);
    }
    // The code in the header alone: the rest of it, in EDNS, is never set without this one,
    // but for BADVERS, which a question of version 0 cannot bring.
    let code = OptRcode::from_rcode(header.rcode());
    let not_understood = matches!(code, OptRcode::FORMERR | OptRcode::NOTIMP);
    // A server that cannot read the question cannot repeat it.
    if not_understood && message.header_counts().qdcount() == 0 {
        return Ok(Reading::Failed(Failure::NotUnderstood));
    }
    let asked = message.sole_question().map_err(|_| Ignored::Malformed)?;
    let is_ours = asked.qname().name_eq(&question.name.0)
        && asked.qtype() == number(question.kind)
        && asked.qclass() == Class::IN;
    if !is_ours {
        return Err(Ignored::WrongQuestion);
    }
    if header.tc() {
        return Ok(Reading::Truncated);
    }
    match code {
        OptRcode::NOERROR | OptRcode::NXDOMAIN => {}
        _ if not_understood => return Ok(Reading::Failed(Failure::NotUnderstood)),
        OptRcode::SERVFAIL => return Ok(Reading::Failed(Failure::Server)),
        OptRcode::REFUSED => return Ok(Reading::Failed(Failure::Refused)),
        other => return Ok(Reading::Failed(Failure::Code(other.to_int()))),
    }
    let exists = code == OptRcode::NOERROR;
    let found = records(message, question).map_err(|_| Ignored::Malformed)?;
    Ok(match follow(question, found) {
        Some((aliases, records)) => Reading::Answer(Answer { exists, aliases, records }),
        None => Reading::Failed(Failure::Loop),
    })
}

type Owned = (Name, Found);

enum Found {
    Alias(Name),
    Wanted(Data),
}

/// The records of the answer that may concern us, with their owners.
fn records(message: &Message<[u8]>, question: &Question) -> Result<Vec<Owned>, ParseError> {
    let mut found = Vec::new();
    for record in message.answer()? {
        let record = record?;
        if record.class() != Class::IN {
            continue;
        }
        let value = if record.rtype() == number(question.kind) {
            data(&record, question.kind)?.map(Found::Wanted)
        } else if record.rtype() == Rtype::CNAME {
            let cname: Option<Cname<ParsedName<&[u8]>>> = parsed(&record)?;
            cname.map(|cname| Found::Alias(name(cname.cname())))
        } else {
            None
        };
        if let Some(value) = value {
            found.push((name(&record.owner()), value));
        }
    }
    Ok(found)
}

/// From the name that was asked for, along the aliases, to the records; `None` for a circle.
fn follow(question: &Question, mut found: Vec<Owned>) -> Option<(Vec<Name>, Vec<Data>)> {
    let mut aliases: Vec<Name> = Vec::new();
    loop {
        let at = aliases.last().unwrap_or(&question.name).clone();
        let mut records = Vec::new();
        found.retain_mut(|(owner, value)| match value {
            Found::Wanted(data) if *owner == at => {
                records.push(data.clone());
                false
            }
            Found::Wanted(_) | Found::Alias(_) => true,
        });
        let alias = found.iter().find_map(|(owner, value)| match value {
            Found::Alias(target) if *owner == at => Some(target),
            Found::Alias(_) | Found::Wanted(_) => None,
        });
        let Some(target) = alias.filter(|_| records.is_empty()) else {
            return Some((aliases, records));
        };
        let seen = *target == question.name || aliases.contains(target);
        if seen || aliases.len() == MOST_ALIASES {
            return None;
        }
        aliases.push(target.clone());
    }
}

fn data(record: &ParsedRecord<'_, [u8]>, kind: Type) -> Result<Option<Data>, ParseError> {
    type Host<'a> = ParsedName<&'a [u8]>;
    Ok(match kind {
        Type::A => parsed::<A>(record)?.map(|a| Data::A(a.addr())),
        Type::Aaaa => parsed::<Aaaa>(record)?.map(|a| Data::Aaaa(a.addr())),
        Type::Cname => parsed::<Cname<Host<'_>>>(record)?.map(|r| Data::Name(name(r.cname()))),
        Type::Ns => parsed::<Ns<Host<'_>>>(record)?.map(|r| Data::Name(name(r.nsdname()))),
        Type::Ptr => parsed::<Ptr<Host<'_>>>(record)?.map(|r| Data::Name(name(r.ptrdname()))),
        Type::Mx => parsed::<Mx<Host<'_>>>(record)?
            .map(|r| Data::Mx { preference: r.preference(), host: name(r.exchange()) }),
        Type::Soa => parsed::<Soa<Host<'_>>>(record)?.map(|r| {
            let times = [r.refresh(), r.retry(), r.expire(), r.minimum()].map(|t| t.as_secs());
            let [refresh, retry, expire, minimum] = times;
            Data::Soa {
                server: name(r.mname()),
                mailbox: name(r.rname()),
                numbers: [r.serial().into_int(), refresh, retry, expire, minimum],
            }
        }),
        Type::Srv => parsed::<Srv<Host<'_>>>(record)?.map(|r| Data::Srv {
            priority: r.priority(),
            weight: r.weight(),
            port: r.port(),
            host: name(r.target()),
        }),
        Type::Tlsa => {
            parsed::<Pin>(record)?.map(|pin| Data::Tlsa { numbers: pin.numbers, data: pin.data })
        }
        Type::Txt => parsed::<Txt<&[u8]>>(record)?.map(|r| Data::Txt(r.text())),
    })
}

/// A TLSA record (RFC 6698 §2.1): the crate reads its own only as one of all types there are.
struct Pin {
    numbers: [u8; 3],
    data: Vec<u8>,
}

impl RecordData for Pin {
    fn rtype(&self) -> Rtype {
        Rtype::TLSA
    }
}

impl<'a> ParseRecordData<'a, [u8]> for Pin {
    fn parse_rdata(
        rtype: Rtype,
        parser: &mut Parser<'a, [u8]>,
    ) -> Result<Option<Self>, ParseError> {
        if rtype != Rtype::TLSA {
            return Ok(None);
        }
        let numbers = [parser.parse_u8()?, parser.parse_u8()?, parser.parse_u8()?];
        let data = parser.parse_octets(parser.remaining())?.to_vec();
        Ok(Some(Pin { numbers, data }))
    }
}

fn parsed<'a, D: ParseRecordData<'a, [u8]>>(
    record: &ParsedRecord<'a, [u8]>,
) -> Result<Option<D>, ParseError> {
    Ok(record.to_record::<D>()?.map(domain::base::Record::into_data))
}

fn name(parsed: &impl ToName) -> Name {
    Name(parsed.to_vec())
}

fn number(kind: Type) -> Rtype {
    match kind {
        Type::A => Rtype::A,
        Type::Aaaa => Rtype::AAAA,
        Type::Cname => Rtype::CNAME,
        Type::Mx => Rtype::MX,
        Type::Ns => Rtype::NS,
        Type::Ptr => Rtype::PTR,
        Type::Soa => Rtype::SOA,
        Type::Srv => Rtype::SRV,
        Type::Tlsa => Rtype::TLSA,
        Type::Txt => Rtype::TXT,
    }
}
