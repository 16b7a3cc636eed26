//! Child processes that never outlive this process. Each child leads a process group, and the whole group is ended: by its owner,
//! or by a guard process if this process was killed.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::Write as _,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{self, ExitStatus, Stdio},
    sync::{Mutex, OnceLock},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Command;

use crate::project;

/// Where a child's output goes.
#[derive(Debug, Clone)]
pub enum Output {
    /// The output is appended to this file. Errors quote its end.
    Log(PathBuf),
    /// The child writes to the same terminal as this program.
    Shown,
}

/// A running child and everything it starts. Dropping it kills them all.
#[derive(Debug)]
pub struct Child {
    name: String,
    process: tokio::process::Child,
    group: Pid,
    output: Output,
}

impl Child {
    /// Starts `command` as the leader of a new process group, with an empty standard input.
    pub fn start(name: &str, mut command: Command, output: Output) -> Result<Self> {
        command.stdin(Stdio::null()).process_group(0).kill_on_drop(true);
        if let Output::Log(path) = &output {
            let log = open_log(path)?;
            command.stderr(log.try_clone().with_context(|| format!("cannot write {}", path.display()))?).stdout(log);
        }
        // The guard is started first, so that it can end the child from the beginning.
        let guard = Guard::of_this_process()?;
        let process = command
            .spawn()
            .with_context(|| format!("{name}: cannot start `{}`", command.as_std().get_program().to_string_lossy()))?;
        let id = process.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let group = id.ok_or_else(|| anyhow!("{name} ended before it was seen"))?;
        guard.watch(group);
        Ok(Self { name: name.to_owned(), process, group, output })
    }

    /// The child's name for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of its process. `None` after its end was noticed.
    pub fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Waits until the child ends by itself. The wait can be cancelled and repeated.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        self.process.wait().await.with_context(|| format!("cannot wait for {}", self.name))
    }

    /// How the child has ended. `None` if it still runs.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.process.try_wait().with_context(|| format!("cannot look after {}", self.name))
    }

    /// Sends the signal to the child's group, and waits for the child, but not longer than `patience`. Then kills everything that
    /// is left of the group.
    pub async fn end(mut self, signal: Signal, patience: Duration) {
        if matches!(self.process.try_wait(), Ok(None)) {
            // This fails if the group is gone already, which is no problem.
            let _ = kill_process_group(self.group, signal);
            let _ = tokio::time::timeout(patience, self.process.wait()).await;
        }
        self.kill().await;
    }

    /// Kills the child and everything it started.
    pub async fn kill(mut self) {
        let _ = kill_process_group(self.group, Signal::KILL);
        let _ = self.process.wait().await;
    }

    /// A text that says how the child ended, with the end of its log.
    pub fn exit_report(&self, status: ExitStatus) -> String {
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("ended by itself with status {code}"),
            (None, Some(signal)) => format!("was ended by signal {signal}"),
            (None, None) => "ended by itself".to_owned(),
        };
        format!("{} {how}\n{}", self.name, self.log_end())
    }

    /// The end of its log. Empty if it has none.
    pub fn log_end(&self) -> String {
        match &self.output {
            Output::Log(path) => quote_log(path),
            Output::Shown => String::new(),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = kill_process_group(self.group, Signal::KILL);
        if let Ok(guard) = Guard::of_this_process() {
            guard.forget(self.group);
        }
    }
}

fn open_log(path: &Path) -> Result<File> {
    if let Some(dir) = path.parent() {
        project::make_dir(dir)?;
    }
    fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The last lines of a log, indented below its path.
pub fn quote_log(path: &Path) -> String {
    const LINES_MAX: usize = 25;
    let text = fs::read(path).unwrap_or_default();
    let mut last = VecDeque::new();
    for line in String::from_utf8_lossy(&text).lines().filter(|line| !line.trim().is_empty()) {
        if last.len() == LINES_MAX {
            last.pop_front();
        }
        last.push_back(format!("  | {line}"));
    }
    let lines = Vec::from(last).join("\n");
    format!("  the end of {}:\n{}", path.display(), if lines.is_empty() { "  | (empty)" } else { &lines })
}

/// A shell that waits for the end of this process, even by a kill, and then ends the groups that are still running.
#[derive(Debug)]
struct Guard {
    orders: Mutex<process::ChildStdin>,
}

/// The guard's script. It reads the lines `add GROUP` and `drop GROUP`. When this process ends, the input ends. Then the script
/// sends SIGINT, at which every child, also PostgreSQL, ends in order. After 3 seconds it sends SIGKILL.
const GUARD: &str = r#"
trap '' INT TERM HUP
groups=
while read -r order group; do
    case $order in
    add) groups="$groups $group" ;;
    drop)
        rest=
        for one in $groups; do [ "$one" = "$group" ] || rest="$rest $one"; done
        groups=$rest
        ;;
    esac
done
for one in $groups; do kill -s INT -- "-$one"; done
for tenth in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
    left=
    for one in $groups; do kill -s 0 -- "-$one" && left="$left $one"; done
    groups=$left
    [ -n "$groups" ] || exit 0
    sleep 0.1
done
for one in $groups; do kill -s KILL -- "-$one"; done
"#;

impl Guard {
    fn of_this_process() -> Result<&'static Self> {
        static GUARD_OF_THIS_PROCESS: OnceLock<Result<Guard, String>> = OnceLock::new();
        let started = GUARD_OF_THIS_PROCESS.get_or_init(|| Self::start().map_err(|error| format!("{error:#}")));
        started.as_ref().map_err(|why| anyhow!("{why}"))
    }

    fn start() -> Result<Self> {
        use std::os::unix::process::CommandExt as _;
        let mut shell = process::Command::new("sh");
        shell.args(["-c", GUARD]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut shell =
            shell.spawn().context("cannot start `sh`, which ends the children should this program be killed")?;
        let orders = shell.stdin.take().context("the guard has no input")?;
        Ok(Self { orders: Mutex::new(orders) })
    }

    fn watch(&self, group: Pid) {
        self.order("add", group);
    }

    fn forget(&self, group: Pid) {
        self.order("drop", group);
    }

    fn order(&self, order: &str, group: Pid) {
        // This fails if the guard was killed. The children are then still ended by their owners.
        if let Ok(mut orders) = self.orders.lock() {
            let _ = writeln!(orders, "{order} {}", group.as_raw_nonzero());
        }
    }
}
