//! Debian's ejabberd, an XMPP server, with as little of it as presence needs: users, their rosters, and a way in.
//!
//! Deliberately absent: `ejabberdctl`, which runs as the user `ejabberd` only and starts the Erlang port mapper, a
//! daemon that stays; encryption, and every limit that would hold clients back.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, bail};
use devstack::{
    child::{Child, Output},
    ports::Port,
    project,
    step::OrStepFailed as _,
};
use rustix::process::Signal;
use serde_json::Value;
use tokio::{process::Command, time::timeout};

/// Where Debian has put ejabberd.
#[derive(Debug)]
pub struct Installed {
    /// The Erlang runtime.
    erl: PathBuf,
    /// Where it finds ejabberd and all that it stands on.
    libraries: String,
}

/// A running ejabberd.
#[derive(Debug)]
pub struct Ejabberd {
    child: Child,
    port: Port,
}

/// Tables that hold users and friends in memory as well as on disk, where ejabberd has them on disk only: filling
/// them would take minutes.
const SCHEMA: &str = "passwd:\n  storage_type: disc_copies\nroster:\n  storage_type: disc_copies\n";

/// Registering the largest towns takes seconds.
const REGISTERING_MAX: Duration = Duration::from_secs(300);

impl Installed {
    /// Looks on the PATH, and where the PATHs of ordinary users do not lead.
    pub fn find() -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let dirs = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
        dirs.filter_map(|dir| fs::read_to_string(dir.join("ejabberdctl")).ok()).find_map(|script| Self::of(&script))
    }

    /// From what Debian has written into `ejabberdctl`; others write it otherwise.
    fn of(script: &str) -> Option<Self> {
        let assigned = |name: &str| {
            let value = script.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
            Some(value.trim_matches(['"', '\'']))
        };
        Some(Self { erl: PathBuf::from(assigned("ERL")?), libraries: assigned("ERL_LIBS")?.to_owned() })
    }

    /// Starts it in this folder and waits until it listens. Its users are those of the town, unless `keep` says to go
    /// on with those that are there.
    pub async fn start(&self, dir: &Path, town: &Path, keep: bool) -> Result<Ejabberd> {
        self.start_in(dir, town, keep).await.or_step_failed("Starting ejabberd", "read its words above")
    }

    async fn start_in(&self, dir: &Path, town: &Path, keep: bool) -> Result<Ejabberd> {
        let port = Port::choose("ejabberd", 0, "")?;
        let log = Output::Log(dir.join("erl.log"));
        if !keep {
            project::remove(dir)?;
            project::write_private(&dir.join("spool/ejabberd.schema"), SCHEMA)?;
            project::write_private(&dir.join("ejabberd.yml"), &config("[]"))?;
            let mut erl = self.command(dir);
            // What is written at once is more than ejabberd itself ever writes.
            erl.args(["-mnesia", "dump_log_write_threshold", "100000"]);
            erl.args(["-eval", r#"{ok, _} = file:script("dev/bench/ejabberd.script")"#, "-s", "init", "stop"]);
            erl.env("TOWN", town);
            let mut child = Child::start("ejabberd", erl, log.clone())?;
            let Ok(status) = timeout(REGISTERING_MAX, child.wait()).await else {
                let words = child.log_end();
                child.kill().await;
                bail!("registering the users took too long\n{words}");
            };
            let status = status?;
            if !status.success() {
                bail!("{}", child.exit_report(status));
            }
        }
        project::write_private(&dir.join("ejabberd.yml"), &config(&listener(&port)))?;
        let mut child = Child::start("ejabberd", self.command(dir), log)?;
        super::wait_for_port(&port, &mut child).await?;
        Ok(Ejabberd { child, port })
    }

    /// As `ejabberdctl foreground` does it, but a node for itself that speaks to no other.
    fn command(&self, dir: &Path) -> Command {
        let mut erl = project::command(&self.erl);
        erl.args(["-noinput", "+K", "true", "+P", "250000", "-mnesia", "dir"]);
        // A string as Erlang writes it, which is as JSON does.
        erl.arg(Value::from(dir.join("spool").to_string_lossy()).to_string()).args(["-s", "ejabberd"]);
        erl.env("ERL_LIBS", &self.libraries).env("ERL_MAX_PORTS", "32000").env("ERL_MAX_ETS_TABLES", "1400");
        erl.env("ERL_CRASH_DUMP_BYTES", "0");
        erl.env("EJABBERD_CONFIG_PATH", dir.join("ejabberd.yml")).env("EJABBERD_LOG_PATH", dir.join("ejabberd.log"));
        erl
    }
}

impl Ejabberd {
    /// Where it listens, as the loadgen takes it.
    pub fn address(&self) -> String {
        format!("xmpp:127.0.0.1:{}", self.port.number())
    }

    /// The number of its process.
    pub fn process(&self) -> Option<u32> {
        self.child.id()
    }

    /// Ends it in order.
    pub async fn stop(self) {
        self.child.end(Signal::TERM, Duration::from_secs(10)).await;
    }

    /// Ends it as a crash does. Its users stay.
    pub async fn kill(self) {
        self.child.kill().await;
    }
}

fn config(listeners: &str) -> String {
    format!(
        "hosts: [localhost]
loglevel: warning
listen: {listeners}
auth_method: mnesia
auth_password_format: plain
modules:
  mod_ping: {{}}
  mod_roster: {{}}
"
    )
}

fn listener(port: &Port) -> String {
    format!("[{{port: {}, ip: \"127.0.0.1\", module: ejabberd_c2s, backlog: 4096}}]", port.number())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_debians_ejabberd_by_its_script() {
        let script =
            "#!/bin/bash\nERL_MAX_PORTS=32000\nERL=\"/usr/bin/erl\"\nERL_LIBS='/usr/lib/here'\nexport ERL_LIBS\n";
        let found = Installed::of(script).unwrap();
        assert_eq!((found.erl, &*found.libraries), (PathBuf::from("/usr/bin/erl"), "/usr/lib/here"));
        assert!(Installed::of("#!/bin/sh\nERL=\"/opt/bin/erl\"\n").is_none());
    }
}
