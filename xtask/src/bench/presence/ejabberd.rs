//! Debian's ejabberd, an XMPP server. Only the parts that presence needs are on: users, their rosters, and a port for clients.
//!
//! Deliberately absent: `ejabberdctl`, because it runs only as the user `ejabberd`, and starts the Erlang port mapper, a daemon
//! that stays; encryption; and all limits that would slow clients down.

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

/// The installation of Debian's ejabberd.
#[derive(Debug)]
pub struct Installed {
    /// The Erlang runtime.
    erl: PathBuf,
    /// The folders of ejabberd and of the libraries that it needs.
    libraries: String,
}

/// A running ejabberd.
#[derive(Debug)]
pub struct Ejabberd {
    child: Child,
    port: Port,
}

/// A schema in which the tables of users and friends are in memory as well as on disk. By default ejabberd has them on disk only,
/// and filling them would take minutes.
const SCHEMA: &str = "passwd:\n  storage_type: disc_copies\nroster:\n  storage_type: disc_copies\n";

/// The longest time for registering a town. The largest towns take seconds.
const REGISTERING_MAX: Duration = Duration::from_secs(300);

impl Installed {
    /// Looks on the PATH, and in /usr/sbin, which is not on the PATH of ordinary users.
    pub fn find() -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let dirs = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
        dirs.filter_map(|dir| fs::read_to_string(dir.join("ejabberdctl")).ok()).find_map(|script| Self::of(&script))
    }

    /// Reads the paths from the script `ejabberdctl`, as Debian writes it. `None` if it is written differently.
    fn of(script: &str) -> Option<Self> {
        let assigned = |name: &str| {
            let value = script.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
            Some(value.trim_matches(['"', '\'']))
        };
        Some(Self { erl: PathBuf::from(assigned("ERL")?), libraries: assigned("ERL_LIBS")?.to_owned() })
    }

    /// Starts ejabberd in this folder, and waits until it listens. Its users are those of the town. With `keep`, it goes on with
    /// the users that it has.
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
            // The default threshold is too low for writing all users at once.
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

    /// The command of `ejabberdctl foreground`, but for a node that does not connect to others.
    fn command(&self, dir: &Path) -> Command {
        let mut erl = project::command(&self.erl);
        erl.args(["-noinput", "+K", "true", "+P", "250000", "-mnesia", "dir"]);
        // A string in Erlang's syntax, which is the same as JSON's.
        erl.arg(Value::from(dir.join("spool").to_string_lossy()).to_string()).args(["-s", "ejabberd"]);
        erl.env("ERL_LIBS", &self.libraries).env("ERL_MAX_PORTS", "32000").env("ERL_MAX_ETS_TABLES", "1400");
        erl.env("ERL_CRASH_DUMP_BYTES", "0");
        erl.env("EJABBERD_CONFIG_PATH", dir.join("ejabberd.yml")).env("EJABBERD_LOG_PATH", dir.join("ejabberd.log"));
        erl
    }
}

impl Ejabberd {
    /// The address that it listens on, in the form that the loadgen takes.
    pub fn address(&self) -> String {
        format!("xmpp:127.0.0.1:{}", self.port.number())
    }

    /// The id of its process.
    pub fn process(&self) -> Option<u32> {
        self.child.id()
    }

    /// Ends it in order.
    pub async fn stop(self) {
        self.child.end(Signal::TERM, Duration::from_secs(10)).await;
    }

    /// Kills it, like a crash. Its users stay.
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
    fn debians_installation_is_read_from_its_script() {
        let script =
            "#!/bin/bash\nERL_MAX_PORTS=32000\nERL=\"/usr/bin/erl\"\nERL_LIBS='/usr/lib/here'\nexport ERL_LIBS\n";
        let found = Installed::of(script).unwrap();
        assert_eq!((found.erl, &*found.libraries), (PathBuf::from("/usr/bin/erl"), "/usr/lib/here"));
        assert!(Installed::of("#!/bin/sh\nERL=\"/opt/bin/erl\"\n").is_none());
    }
}
