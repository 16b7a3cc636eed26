//! No child outlives the one who wanted it.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use devstack::child::{Child, Output};
use rustix::process::{Pid, Signal, test_kill_process};

/// A shell that leaves a process of its own running, writes its number to standard output, and does not end when
/// asked to.
const STUBBORN: &str = "trap '' INT TERM; sleep 600 & echo $!; wait; sleep 600";

fn stubborn() -> tokio::process::Command {
    let mut shell = tokio::process::Command::new("sh");
    shell.args(["-c", STUBBORN]);
    shell
}

/// Waits until the process is gone; a zombie, which nobody may be there to collect, is gone.
fn assert_gone(pid: Pid) {
    let begun = Instant::now();
    let zombie =
        || fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).is_ok_and(|stat| stat.contains(") Z "));
    while test_kill_process(pid).is_ok() && !zombie() {
        assert!(begun.elapsed() < Duration::from_secs(20), "process {pid:?} is still there");
        std::thread::sleep(Duration::from_millis(50));
    }
}

async fn number_in(log: &Path) -> Option<Pid> {
    loop {
        let text = fs::read_to_string(log).unwrap_or_default();
        if let Some(line) = text.lines().next().filter(|_| text.ends_with('\n')) {
            return Pid::from_raw(line.parse().ok()?);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn ending_a_child_ends_what_it_started_even_when_both_refuse() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let child = Child::start("the shell", stubborn(), Output::Log(log.clone())).unwrap();
    let grandchild = number_in(&log).await.unwrap();
    assert!(test_kill_process(grandchild).is_ok());
    child.end(Signal::TERM, Duration::from_millis(300)).await;
    assert_gone(grandchild);
}

#[tokio::test]
async fn dropping_a_child_ends_what_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let child = Child::start("the shell", stubborn(), Output::Log(log.clone())).unwrap();
    let grandchild = number_in(&log).await.unwrap();
    drop(child);
    assert_gone(grandchild);
}

#[test]
fn children_of_a_program_that_is_killed_end_too() {
    let mut program = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_program_with_a_child", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines().map(Result::unwrap);
    let number = lines.find_map(|line| line.strip_prefix("grandchild ")?.parse().ok()).unwrap();
    let grandchild = Pid::from_raw(number).unwrap();
    assert!(test_kill_process(grandchild).is_ok());
    program.kill().unwrap();
    program.wait().unwrap();
    assert_gone(grandchild);
}

#[tokio::test]
#[ignore = "the program that another test kills"]
async fn a_program_with_a_child() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let mut child = Child::start("the shell", stubborn(), Output::Log(log.clone())).unwrap();
    println!("\ngrandchild {}", number_in(&log).await.unwrap().as_raw_nonzero());
    child.wait().await.unwrap();
}
