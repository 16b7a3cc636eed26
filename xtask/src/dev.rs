//! `cargo xtask dev` and `stop`: run and stop the one stack of this checkout, whose data are in `.dev`.

use std::{
    fs::{self, File, TryLockError},
    io::{Read as _, Write as _},
    path::PathBuf,
    pin::pin,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use devstack::{
    child::quote_log,
    client,
    postgres::Durability,
    project,
    stack::{Database, Edge, Issuer, Ports, Stack, StackInfo, StackOptions},
    step::{OrStepFailed as _, StepFailed, say},
    tools,
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use crate::demo;

/// Time between two checks whether the client's sources have changed.
const CLIENT_LOOKED_AT_EVERY: Duration = Duration::from_secs(1);

/// The options of the stack.
#[derive(Debug, clap::Args)]
pub struct Dev {
    /// Port of the edge, the system's one public origin.
    #[arg(long, default_value_t = 8787)]
    pub edge_port: u16,
    /// Port of the core.
    #[arg(long, default_value_t = 8080)]
    pub core_port: u16,
    /// Port of the core's metrics.
    #[arg(long, default_value_t = 9100)]
    pub metrics_port: u16,
    /// Port of the OIDC provider.
    #[arg(long, default_value_t = 9000)]
    pub oidc_port: u16,
    /// Port of PostgreSQL, unless DATABASE_URL names one.
    #[arg(long, default_value_t = 54320)]
    pub postgres_port: u16,
    /// Port of the store for profile images.
    #[arg(long, default_value_t = 9001)]
    pub images_port: u16,
    /// Start afresh: remove all data, keys and secrets of earlier starts first.
    #[arg(long)]
    pub reset: bool,
    /// Return once everything runs, and leave it running until `cargo xtask stop`.
    #[arg(long)]
    pub detach: bool,
    /// Accept the tokens of this OIDC issuer, instead of starting a provider.
    #[arg(long, requires_all = ["jwks_url", "audience"])]
    pub issuer: Option<String>,
    /// URL of that issuer's JSON Web Key Set.
    #[arg(long, requires = "issuer")]
    pub jwks_url: Option<String>,
    /// The client id that its tokens must be meant for.
    #[arg(long, requires = "issuer")]
    pub audience: Option<String>,
    /// Configuration for the worker and the core, such as PRESENCE_TIMEOUT_MS=5000. Repeatable.
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub vars: Vec<(String, String)>,
    /// Set by `--detach` for the process that stays in the background.
    #[arg(long, hide = true, conflicts_with = "detach")]
    pub in_background: bool,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}

/// The file that describes the running stack.
pub fn stack_file() -> PathBuf {
    project::dev_dir().join("stack.json")
}

/// The description of the running stack. If none runs, the error says what to do.
pub fn running_stack() -> Result<StackInfo> {
    let read = || {
        // The file is no proof: a stack that was killed leaves it behind.
        anyhow::ensure!(holder(&mut open_lock()?)?.is_some(), "none runs");
        StackInfo::read(&stack_file())
    };
    read().or_step_failed("Looking for the running stack", "start it with `cargo xtask dev`")
}

/// The lock file. Its lock is held exactly while a stack runs, even if the program crashes. It holds the program's pid.
fn lock_file() -> PathBuf {
    project::dev_dir().join("lock")
}

fn open_lock() -> Result<File> {
    project::make_dir(&project::dev_dir())?;
    let path = lock_file();
    let options = File::options().read(true).write(true).create(true).truncate(false).open(&path);
    options.with_context(|| format!("cannot write {}", path.display()))
}

/// The pid of the program that holds the lock. `None` if no program does.
fn holder(lock: &mut File) -> Result<Option<Pid>> {
    match lock.try_lock() {
        Ok(()) => {
            lock.unlock()?;
            Ok(None)
        }
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            lock.read_to_string(&mut text)?;
            let pid = text.trim().parse().ok().and_then(Pid::from_raw);
            Ok(Some(pid.context("the stack is only just starting; try again")?))
        }
        Err(TryLockError::Error(error)) => Err(error).context("cannot ask for the lock"),
    }
}

fn already_running(pid: Pid) -> anyhow::Error {
    let why = format!("one runs already, as process {}", pid.as_raw_nonzero());
    StepFailed::new("Starting the stack", why, "`cargo xtask stop` ends it").into()
}

/// Starts the stack, and keeps it until Ctrl-C, another signal to end, or the end of a child.
pub async fn run(dev: Dev) -> Result<()> {
    if dev.detach {
        return detach().await;
    }
    let mut lock = open_lock()?;
    if let Some(pid) = holder(&mut lock)? {
        return Err(already_running(pid));
    }
    // This may wait for a moment: a process that only asks for the holder takes the lock itself.
    project::take(&lock, "Waiting for the lock").await?;
    lock.set_len(0)?;
    write!(lock, "{}", std::process::id())?;
    // A run that was killed may have left it.
    project::remove(&stack_file())?;

    let mut wishes = Wishes::listen(dev.in_background)?;
    let begun = Instant::now();
    let mut stack = tokio::select! {
        stack = start(&dev) => stack?,
        () = wishes.next() => {
            say("Stopped before everything ran");
            return Ok(());
        }
    };
    print_welcome(&dev, &stack, begun.elapsed());
    project::write_private(&stack_file(), &serde_json::to_string_pretty(stack.info())?)?;

    let store_program = tools::s3_server();
    let mut store = pin!(store_program.ensure());
    let mut store_built = false;
    let mut sources = client::Watch::default();
    let mut look = tokio::time::interval(CLIENT_LOOKED_AT_EVERY);
    let ended = loop {
        tokio::select! {
            exit_report = stack.child_ended() => break Some(exit_report),
            () = wishes.next() => break None,
            _ = look.tick() => match sources.has_changed() {
                Ok(true) => if let Err(error) = stack.build_client().await {
                    say(&format!("{error:#}"));
                },
                Ok(false) => {}
                // This may happen while files are moved.
                Err(error) => say(&format!("The client's sources cannot be read: {error:#}")),
            },
            // The image store is built while the stack runs, because that takes minutes at the first start.
            program = &mut store, if !store_built => {
                store_built = true;
                match program.and_then(|program| stack.start_image_store(&program)) {
                    Ok(()) => say("Profile images can be uploaded"),
                    Err(error) => say(&format!("Profile images cannot be uploaded: {error:#}")),
                }
            }
        }
    };
    project::remove(&stack_file())?;
    say("Stopping");
    tokio::select! {
        stopped = stack.stop() => stopped?,
        // The second signal ends the wait. Dropping the stack kills its processes.
        () = wishes.next() => {}
    }
    match ended {
        None => Ok(()),
        Some(exit_report) => {
            let advice = "read its words above; then start again";
            Err(StepFailed::new("Running the stack", exit_report?, advice).into())
        }
    }
}

async fn start(dev: &Dev) -> Result<Stack> {
    let dir = project::dev_dir();
    let database = match std::env::var("DATABASE_URL") {
        Ok(_) if dev.reset => {
            let why = "DATABASE_URL names a database that is not this program's to empty";
            bail!(StepFailed::new("Starting afresh", why, "empty it yourself, or unset DATABASE_URL"));
        }
        Ok(url) => Database::Given(url),
        Err(_) => Database::Own { durability: Durability::Full, settings: &[] },
    };
    if dev.reset {
        for name in
            ["assets", "client", "edge", "edge.env", "images", "oidc-key.json", "postgres", "secrets.json", "wrangler"]
        {
            project::remove(&dir.join(name))?;
        }
    }
    let issuer = match (&dev.issuer, &dev.jwks_url, &dev.audience) {
        (Some(issuer), Some(jwks_url), Some(audience)) => {
            Some(Issuer { issuer: issuer.clone(), jwks_url: jwks_url.clone(), audience: audience.clone() })
        }
        _ => None,
    };
    let ports = Ports {
        edge: dev.edge_port,
        core: dev.core_port,
        metrics: dev.metrics_port,
        oidc: dev.oidc_port,
        postgres: dev.postgres_port,
        images: Some(dev.images_port),
    };
    // The path of this program is used, because `cargo xtask` could first wait for another cargo that builds.
    let rebuild = Some(format!("'{}' build-edge --development", std::env::current_exe()?.display()));
    let stack = Stack::start(StackOptions {
        ports,
        issuer,
        vars: dev.vars.clone(),
        edge: Edge::Wrangler { rebuild },
        ..StackOptions::new(dir, database)
    });
    let stack = stack.await?;
    if dev.issuer.is_none() {
        say("Making the demo users");
        demo::make_users(stack.info()).await?;
    }
    Ok(stack)
}

fn print_welcome(dev: &Dev, stack: &Stack, took: Duration) {
    let StackInfo { edge_url, core_url, issuer, .. } = stack.info();
    let issuer = &issuer.issuer;
    let socket = edge_url.replacen("http", "ws", 1);
    let (metrics, images) = (dev.metrics_port, dev.images_port);
    say(&format!(
        "
PageNow runs (started in {:.1} s)
  edge      {edge_url}   live channel {socket}/ws
  core      {core_url}   metrics http://127.0.0.1:{metrics}/metrics
  issuer    {issuer}
  images    http://127.0.0.1:{images}   once the store behind it is built
  page      {edge_url}/app/
  extension {}   load it unpacked at chrome://extensions, or from firefox/manifest.json beside it at about:debugging
  details   .dev/stack.json   logs .dev/logs
",
        took.as_secs_f32(),
        stack.client().join("chromium").display(),
    ));
    if dev.issuer.is_some() {
        say("No demo users: they sign in at the provider of development, and this stack trusts another issuer.");
        say("With a token of yours: cargo xtask live USER --token TOKEN");
    } else {
        say("alice and bob are friends; carol has asked alice. Try, each in a terminal of its own:");
        say("  cargo xtask live bob");
        say("  cargo xtask visit alice https://github.com/rust-lang/rust \"The Rust language\"");
        say(&format!("  curl -H \"Authorization: Bearer $(cargo xtask token alice)\" {edge_url}/users/me"));
    }
    let how = if dev.in_background { "`cargo xtask stop`" } else { "Ctrl-C" };
    say(&format!("\n{how} ends everything."));
}

/// Starts this program again in the background, and returns when its stack runs.
async fn detach() -> Result<()> {
    use std::os::unix::process::CommandExt as _;
    if let Some(pid) = holder(&mut open_lock()?)? {
        return Err(already_running(pid));
    }
    project::remove(&stack_file())?;
    let log_path = project::log_file("dev");
    project::make_dir(&project::dev_dir().join("logs"))?;
    let log = File::create(&log_path).with_context(|| format!("cannot write {}", log_path.display()))?;
    let args = std::env::args_os().skip(1).filter(|arg| arg != "--detach");
    let mut program = std::process::Command::new(std::env::current_exe()?);
    program.args(args).arg("--in-background").process_group(0);
    program.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let mut child = program.spawn().context("cannot start the half that stays")?;
    let pid = Pid::from_raw(i32::try_from(child.id())?).context("it has no pid")?;

    let mut shown = 0;
    let mut wishes = Wishes::listen(false)?;
    loop {
        let ready = stack_file().exists();
        let text = fs::read_to_string(&log_path).unwrap_or_default();
        eprint!("{}", text.get(shown..).unwrap_or_default());
        shown = text.len();
        // The log was read after this check, so everything that was written before the file appeared has been shown.
        if ready {
            return Ok(());
        }
        if let Some(status) = child.try_wait()? {
            let why = format!("the half that stays ended with {status}\n{}", quote_log(&log_path));
            bail!(StepFailed::new("Starting the stack in the background", why, "see the words above"));
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
            () = wishes.next() => {
                kill_process(pid, Signal::TERM)?;
                child.wait()?;
                return Ok(());
            }
        }
    }
}

/// Ends the running stack and waits until it has ended.
pub async fn stop() -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(60);
    let Some(pid) = holder(&mut open_lock()?)? else {
        say("No stack runs");
        return Ok(());
    };
    kill_process(pid, Signal::TERM).with_context(|| format!("cannot signal process {pid:?}"))?;
    let pid = pid.as_raw_nonzero();
    let begun = Instant::now();
    while holder(&mut open_lock()?)?.is_some() {
        if begun.elapsed() > PATIENCE {
            let why = format!("process {pid} still runs after {} s", PATIENCE.as_secs());
            bail!(StepFailed::new("Stopping the stack", why, format!("kill -9 {pid}: its children end with it")));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    say("Stopped");
    Ok(())
}

/// The exit code that tells shells that Ctrl-C ended a program.
pub const INTERRUPTED: u8 = 130;

/// The signals by which a person or a supervisor asks this program to end.
#[derive(Debug)]
pub struct Wishes {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
    /// In the background, the program goes on when its terminal closes.
    ignore_hang_up: bool,
}

impl Wishes {
    /// Listens for the signals. From here on, they do not end this program by themselves any more.
    pub fn listen(ignore_hang_up: bool) -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
            ignore_hang_up,
        })
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                _ = self.hang_up.recv() => if !self.ignore_hang_up { return },
            }
        }
    }
}
