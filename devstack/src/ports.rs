//! Chooses ports on which child processes listen.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use anyhow::{Context as _, Result, bail};

use crate::step::StepFailed;

/// A TCP port of 127.0.0.1 on which no program listened when it was chosen.
#[derive(Debug)]
pub struct Port {
    number: u16,
    /// The UDP port with the same number, bound as long as this value lives. It reserves the number: other processes that choose
    /// ports in this way skip it, even before a child listens on the TCP port. A port that a person named is not reserved.
    _held: Option<UdpSocket>,
}

impl Port {
    /// The range of free ports. It is below the range from which systems take the ports of outgoing connections.
    const ANY: std::ops::Range<u16> = 20_000..32_000;

    /// Chooses the port `wanted`, or a free one if that is 0. `flag` is the command line flag for the port; the error names it.
    pub fn choose(what: &str, wanted: u16, flag: &str) -> Result<Self> {
        if wanted != 0 {
            return match TcpListener::bind((Ipv4Addr::LOCALHOST, wanted)) {
                Ok(_) => Ok(Self { number: wanted, _held: None }),
                Err(error) => bail!(StepFailed::new(
                    format!("Choosing the port of {what}"),
                    format!("port {wanted} of 127.0.0.1 cannot be had: {error}"),
                    format!("end the program that has it, or choose another: {flag} PORT"),
                )),
            };
        }
        const TRIES: usize = 1_000;
        let free = || Self::hold(rand::random_range(Self::ANY));
        std::iter::repeat_with(free).take(TRIES).find_map(|port| port).context("no free port was found")
    }

    fn hold(number: u16) -> Option<Self> {
        let held = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        Some(Self { number, _held: Some(held) })
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// `http://127.0.0.1:` and the number.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_refused_with_the_flag_that_changes_it() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let number = taken.local_addr().unwrap().port();
        let error = Port::choose("the edge", number, "--edge-port").unwrap_err().to_string();
        assert!(error.contains(&number.to_string()) && error.contains("--edge-port"), "{error}");
    }

    #[test]
    fn a_reserved_port_is_not_chosen_again() {
        let mut held: Vec<Port> = (0..200).map(|_| Port::choose("a test", 0, "--port").unwrap()).collect();
        held.sort_by_key(Port::number);
        assert!(held.windows(2).all(|pair| pair[0].number() != pair[1].number()));
    }
}
