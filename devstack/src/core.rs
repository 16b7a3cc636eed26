//! Runs the core's program: its migrations, its commands, and the server.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::process::Signal;
use tokio::process::Command;
use url::Url;

use crate::{
    child::{Child, Output},
    http::wait_until_ready,
    ports::Port,
    project,
    secrets::random_text,
    step::{OrStepFailed as _, say},
};

/// The core: its configuration, and its process while it serves.
#[derive(Debug)]
pub(crate) struct Core {
    program: PathBuf,
    port: Port,
    /// The port of its metrics, kept here so that no other stack chooses it.
    _metrics: Port,
    settings: Vec<(String, String)>,
    /// `None`: the role in the database's URL does everything.
    roles: Option<Roles>,
    logs: PathBuf,
    process: Option<Child>,
}

/// The roles of the core's database. The core's command `bootstrap-database` makes them.
#[derive(Debug)]
pub(crate) struct Roles {
    pub(crate) owner: String,
    pub(crate) app: String,
    /// The password of both roles. It is new at each start, because roles belong to the cluster, and secrets to the stack.
    pub(crate) password: String,
}

impl Roles {
    /// Roles with this name and the endings `_owner` and `_app`.
    pub(crate) fn named(name: &str) -> Self {
        Self { owner: format!("{name}_owner"), app: format!("{name}_app"), password: random_text() }
    }

    pub(crate) fn names(&self) -> [&str; 2] {
        [&self.owner, &self.app]
    }
}

impl Core {
    /// A core that does not serve yet. `settings` are environment variables; of two with the same name, the later one counts. The
    /// functions below take the database's URL. With `roles`, it must be the URL of an administrator.
    pub(crate) fn new(
        program: PathBuf,
        port: Port,
        metrics: Port,
        mut settings: Vec<(String, String)>,
        roles: Option<Roles>,
        logs: PathBuf,
    ) -> Self {
        for (name, port) in [("LISTEN_ADDR", &port), ("METRICS_ADDR", &metrics)] {
            settings.push((name.to_owned(), format!("127.0.0.1:{}", port.number())));
        }
        // Switches backtraces off, because they would bury the error's text.
        settings.push(("RUST_LIB_BACKTRACE".to_owned(), "0".to_owned()));
        Self { program, port, _metrics: metrics, settings, roles, logs, process: None }
    }

    /// The core's URL.
    pub(crate) fn url(&self) -> String {
        self.port.url()
    }

    /// Makes the roles, and migrates the database to the newest schema.
    pub(crate) async fn migrate(&self, database_url: &str) -> Result<()> {
        if let Some(Roles { owner, app, password }) = &self.roles {
            const STEP: &str = "Making the roles of the database";
            const ADVICE: &str = "with DATABASE_URL, see that its user may create roles";
            let mut bootstrap = self.command("bootstrap-database", database_url);
            bootstrap.args(["--owner", owner, "--app", app]);
            bootstrap.env("DATABASE_OWNER_PASSWORD", password).env("DATABASE_APP_PASSWORD", password);
            self.run(bootstrap).await.or_step_failed(STEP, ADVICE)?;
        }
        const STEP: &str = "Running the migrations";
        const ADVICE: &str = "with DATABASE_URL, see that it names a database that can be reached. Is it one from \
                              another version of the migrations? Then start afresh with `--reset`, or name an empty one";
        say(STEP);
        let url = self.url_of(|roles| &roles.owner, database_url)?;
        self.run(self.command("migrate", &url)).await.or_step_failed(STEP, ADVICE)
    }

    /// Runs one of the core's commands on the database, and waits for its end.
    pub(crate) async fn operate(&self, command: &[&str], database_url: &str) -> Result<()> {
        let url = self.url_of(|roles| &roles.app, database_url)?;
        let (what, args) = command.split_first().context("a command has a name")?;
        let mut core = self.command(what, &url);
        core.args(args);
        self.run(core).await
    }

    /// Runs a command, and waits for its end. Its output goes to a log.
    async fn run(&self, command: Command) -> Result<()> {
        let log = Output::Log(self.logs.join("core-api-commands.log"));
        let mut child = Child::start("core-api", command, log)?;
        let status = child.wait().await?;
        if status.success() { Ok(()) } else { Err(anyhow!(child.exit_report(status))) }
    }

    /// The database's URL for one of the roles.
    fn url_of(&self, role: impl Fn(&Roles) -> &String, database_url: &str) -> Result<String> {
        let Some(roles) = &self.roles else { return Ok(database_url.to_owned()) };
        let mut url = Url::parse(database_url).context("DATABASE_URL is not a URL")?;
        url.set_username(role(roles)).ok().context("DATABASE_URL names no host")?;
        url.set_password(Some(&roles.password)).ok().context("DATABASE_URL names no host")?;
        Ok(url.into())
    }

    /// Starts the server on the database, and waits until it is ready. It must not be running already.
    pub(crate) async fn start(&mut self, database_url: &str) -> Result<()> {
        const STEP: &str = "Starting core-api";
        const ADVICE: &str = "read its words above; `core-api serve --help` explains its configuration";
        const PATIENCE: Duration = Duration::from_secs(60);
        if self.process.is_some() {
            bail!("the core is running");
        }
        say(STEP);
        let log = Output::Log(self.logs.join("core.log"));
        let url = self.url_of(|roles| &roles.app, database_url)?;
        let mut child = Child::start("core-api", self.command("serve", &url), log).or_step_failed(STEP, ADVICE)?;
        let ready = format!("{}/readyz", self.url());
        wait_until_ready(&ready, &mut child, PATIENCE).await.or_step_failed(STEP, ADVICE)?;
        self.process = Some(child);
        Ok(())
    }

    fn command(&self, what: &str, database_url: &str) -> Command {
        let mut core = project::command(&self.program);
        core.arg(what).envs(self.settings.iter().map(|(name, value)| (name, value)));
        core.env("DATABASE_URL", database_url);
        core
    }

    /// Sets an environment variable for the core, from its next start on.
    pub(crate) fn tell(&mut self, name: &str, value: &str) {
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    /// Its process while it serves.
    pub(crate) fn process(&mut self) -> Option<&mut Child> {
        self.process.as_mut()
    }

    /// Ends the server as a deployment does, and waits until it has ended.
    pub(crate) async fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.end(Signal::TERM, Duration::from_secs(30)).await;
        }
    }

    /// Kills the server, like a crash.
    pub(crate) async fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill().await;
        }
    }
}
