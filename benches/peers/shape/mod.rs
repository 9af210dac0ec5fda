//! The few ways in which contenders are run. A scenario is one of these, and data.

pub(crate) mod datagrams;
pub(crate) mod forward;
pub(crate) mod load;
pub(crate) mod start;
pub(crate) mod transfer;

use crate::figures::{Failure, Sample};
use crate::lab::Lab;
use crate::scenario::Contender;

/// How the contenders of a scenario are run.
pub(crate) enum Shape {
    /// Bytes from one program to another.
    Transfer(transfer::Transfer),
    /// Bytes through one program between two sockets.
    Forward(forward::Forward),
    /// A program that starts, does little, and ends; many times.
    Start(start::Start),
    /// A server with many callers.
    Load(load::Load),
    /// Datagrams from one program to another.
    Datagrams(datagrams::Datagrams),
}

impl Shape {
    /// One timed run.
    pub(crate) fn run(&self, lab: &Lab, contender: &Contender) -> Result<Sample, Failure> {
        match self {
            Self::Transfer(transfer) => transfer.run(lab, contender),
            Self::Forward(forward) => forward.run(lab, contender),
            Self::Start(start) => start.run(lab, contender),
            Self::Load(load) => load.run(lab, contender),
            Self::Datagrams(datagrams) => datagrams.run(lab, contender),
        }
    }

    /// One run before the timed ones, in which every byte is compared.
    pub(crate) fn verify(&self, lab: &Lab, contender: &Contender) -> Result<Sample, Failure> {
        match self {
            Self::Transfer(transfer) => transfer.verify(lab, contender),
            Self::Forward(forward) => forward.verify(lab, contender),
            Self::Start(start) => start.verify(lab, contender),
            // Nothing is left out where the time is taken.
            Self::Load(load) => load.run(lab, contender),
            Self::Datagrams(datagrams) => datagrams.verify(lab, contender),
        }
    }

    /// Whether it is in the nature of the thing that some get lost.
    pub(crate) fn may_lose(&self) -> bool {
        match self {
            Self::Transfer(_) | Self::Forward(_) | Self::Start(_) | Self::Load(_) => false,
            Self::Datagrams(_) => true,
        }
    }

    /// Whether a larger figure is a better one.
    pub(crate) fn more_is_better(&self) -> bool {
        match self {
            Self::Transfer(_) | Self::Forward(_) | Self::Datagrams(_) => true,
            Self::Start(_) => false,
            Self::Load(load) => load.more_is_better,
        }
    }
}
