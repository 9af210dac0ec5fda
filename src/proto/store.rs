//! What a mail server machine asks of the mailbox behind it: the machine knows the protocol, the
//! store knows the disk (or a practice box in memory), and this is all they know of each other.
//!
//! Calls are made from within a machine's step and come back when it is done, so they are short:
//! what has been answered with success is kept, whatever happens next.

use std::fmt;

/// The folder that always exists; its name is the same in any case (RFC 9051 §5.1).
pub const INBOX: &str = "INBOX";

/// Why a store says no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such folder.
    NoSuchFolder,
    /// There is one of this name already.
    Exists,
    /// No folder may be called that: half a sentence about why.
    BadName(&'static str),
    /// Nothing can be written: the disk or a quota is full.
    Full,
    /// Nothing can be changed here.
    ReadOnly,
    /// Somebody else has it for himself now.
    InUse,
    /// The message is not there any more: somebody else has removed it.
    Gone,
    /// There is no room for so many: half a sentence about what.
    Limit(&'static str),
    /// The system's words about what went wrong.
    Broken(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchFolder => f.write_str("no such mailbox"),
            Self::Exists => f.write_str("there is a mailbox of this name already"),
            Self::BadName(why) => write!(f, "no mailbox can have this name: {why}"),
            Self::Full => f.write_str("the disk is full"),
            Self::ReadOnly => f.write_str("the mailbox is read-only"),
            Self::InUse => f.write_str("the mailbox is in use"),
            Self::Gone => f.write_str("the message is gone"),
            Self::Limit(what) => f.write_str(what),
            Self::Broken(why) => f.write_str(why),
        }
    }
}

/// What the calls below come to.
pub type Result<T> = std::result::Result<T, Refusal>;

/// The marks of a message (RFC 9051 §2.3.2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// `\Seen`
    pub seen: bool,
    /// `\Answered`
    pub answered: bool,
    /// `\Flagged`
    pub flagged: bool,
    /// `\Deleted`
    pub deleted: bool,
    /// `\Draft`
    pub draft: bool,
    /// Keywords such as `$Forwarded`, each an IMAP atom, in the order in which they came.
    pub keywords: Vec<String>,
}

/// A message, as a list of a folder shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its number for good: never another message's under the same UIDVALIDITY.
    pub uid: u32,
    /// Its octets with CR LF line ends: exactly what [`Folder::read`] gives.
    pub size: u64,
    /// Its marks.
    pub flags: Flags,
    /// When it came, in seconds since 1970 in UTC (IMAP's INTERNALDATE).
    pub received: u64,
    /// It came since a session last opened the folder for writing (IMAP4rev1's `\Recent`).
    pub recent: bool,
}

/// A folder, as a list of a store shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name in UTF-8, levels separated by `/`.
    pub name: String,
    /// It can be opened. One that cannot is not there: there are some below it, or the person has
    /// subscribed to it (RFC 3501 §6.3.9).
    pub selectable: bool,
    /// The person wants to see it (SUBSCRIBE).
    pub subscribed: bool,
}

/// Counts, without opening the folder (RFC 9051 §6.3.11, RFC 8438).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Messages.
    pub messages: u32,
    /// Those that came since it was last opened for writing.
    pub recent: u32,
    /// Those without `\Seen`.
    pub unseen: u32,
    /// Those with `\Deleted`.
    pub deleted: u32,
    /// The UID that the next message gets, or a smaller one than that.
    pub uid_next: u32,
    /// Changes when UIDs do.
    pub uid_validity: u32,
    /// Octets, all together.
    pub size: u64,
}

/// Where copies went, for COPYUID and APPENDUID (RFC 4315).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The UIDVALIDITY of the folder that they went to.
    pub uid_validity: u32,
    /// Old and new UID of each, in the order of the old ones.
    pub uids: Vec<(u32, u32)>,
}

/// One person's folders.
pub trait Store {
    /// All folders, INBOX first.
    ///
    /// # Errors
    /// [`Refusal::Broken`].
    fn folders(&mut self) -> Result<Vec<Listed>>;

    /// Makes a folder, and those above it that are not there.
    ///
    /// # Errors
    /// [`Refusal::Exists`], [`Refusal::BadName`], [`Refusal::Full`], [`Refusal::Broken`].
    fn create(&mut self, name: &str) -> Result<()>;

    /// Removes a folder and its messages; those below it stay.
    ///
    /// # Errors
    /// [`Refusal::NoSuchFolder`]; [`Refusal::BadName`] for INBOX.
    fn delete(&mut self, name: &str) -> Result<()>;

    /// Renames a folder and those below it. INBOX's messages move and INBOX stays (RFC 9051
    /// §6.3.6).
    ///
    /// # Errors
    /// [`Refusal::NoSuchFolder`], [`Refusal::Exists`], [`Refusal::BadName`].
    fn rename(&mut self, from: &str, to: &str) -> Result<()>;

    /// Notes whether the person wants to see a folder, which need not exist.
    ///
    /// # Errors
    /// [`Refusal::BadName`], [`Refusal::Broken`].
    fn subscribe(&mut self, name: &str, wanted: bool) -> Result<()>;

    /// Its counts.
    ///
    /// # Errors
    /// [`Refusal::NoSuchFolder`], [`Refusal::Broken`].
    fn status(&mut self, name: &str) -> Result<Status>;

    /// Opens a folder: what it holds now. `read_only` leaves `\Recent` and everything else alone.
    ///
    /// # Errors
    /// [`Refusal::NoSuchFolder`], [`Refusal::Broken`].
    fn open(&mut self, name: &str, read_only: bool) -> Result<Box<dyn Folder>>;

    /// Adds a message, whose lines end in CR LF or LF; `received` is now if nobody says. It is on
    /// disk when this comes back. Gives UIDVALIDITY and UID.
    ///
    /// # Errors
    /// [`Refusal::NoSuchFolder`], [`Refusal::Full`], [`Refusal::Limit`], [`Refusal::Broken`];
    /// nothing half-written is left then.
    fn append(
        &mut self,
        folder: &str,
        content: &[u8],
        flags: &Flags,
        received: Option<u64>,
    ) -> Result<(u32, u32)>;
}

/// An open folder. UIDs that are not there (any more) are passed over where many are given.
pub trait Folder {
    /// Changes when UIDs do; never while the folder is open.
    fn uid_validity(&self) -> u32;

    /// The UID that the next message gets, or a smaller one than that.
    fn uid_next(&self) -> u32;

    /// Looks again what is there, changes by others included: all messages, by UID.
    ///
    /// # Errors
    /// [`Refusal::Broken`].
    fn look(&mut self) -> Result<Vec<Message>>;

    /// A message with CR LF line ends, whole.
    ///
    /// # Errors
    /// [`Refusal::Gone`], [`Refusal::Broken`].
    fn read(&mut self, uid: u32) -> Result<Vec<u8>>;

    /// Gives a message these marks instead of those it has.
    ///
    /// # Errors
    /// [`Refusal::Gone`], [`Refusal::ReadOnly`], [`Refusal::Limit`], [`Refusal::Broken`].
    fn mark(&mut self, uid: u32, flags: &Flags) -> Result<()>;

    /// Removes messages.
    ///
    /// # Errors
    /// [`Refusal::ReadOnly`], [`Refusal::Broken`].
    fn remove(&mut self, uids: &[u32]) -> Result<()>;

    /// Copies messages, with their marks and dates, to another folder of the same store: all of
    /// them, or none.
    ///
    /// # Errors
    /// [`Refusal::NoSuchFolder`], [`Refusal::Full`], [`Refusal::Limit`], [`Refusal::Broken`].
    fn copy(&mut self, uids: &[u32], to: &str) -> Result<Copied>;
}

/// Where the stores are, one for each person or one for all.
pub trait Stores {
    /// This person's, for one session. `alone` asks that no other session of POP3 has it (RFC 1939
    /// §4).
    ///
    /// # Errors
    /// [`Refusal::InUse`], [`Refusal::BadName`], [`Refusal::Broken`].
    fn enter(&mut self, user: &str, alone: bool) -> Result<Box<dyn Store>>;
}
