//! What Terraform tells the core, held against what the core reads.

use clap::CommandFactory as _;
use core_api::config::Cli;
use devstack::project;
use serde::Deserialize;

#[derive(Deserialize)]
struct Names {
    environment: Vec<String>,
    secrets: Vec<String>,
}

#[test]
fn every_name_that_terraform_sets_is_one_that_the_core_reads_and_none_that_it_needs_is_missing() {
    let file = project::root().join("terraform/core-environment.json");
    let Names { environment, secrets } = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let set: Vec<String> = environment.iter().chain(&secrets).cloned().collect();
    let mut cli = Cli::command();
    let serve = cli.find_subcommand_mut("serve").unwrap();
    let help = serve.render_long_help().to_string();
    for name in &set {
        let listed =
            help.split(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')).any(|word| word == name);
        assert!(listed, "{name} is nothing that `core-api serve` reads");
    }
    let named = |argument: &&clap::Arg| argument.is_required_set();
    for argument in serve.get_arguments().filter(named) {
        let name = argument.get_env().unwrap().to_str().unwrap().to_owned();
        assert!(set.contains(&name), "{name} is needed, and Terraform does not set it");
    }
    // What must not be read by whoever may look at the task, and only that.
    for argument in serve.get_arguments().filter(|argument| argument.is_hide_env_values_set()) {
        let name = argument.get_env().unwrap().to_str().unwrap();
        assert!(name == "DATABASE_URL" || !environment.iter().any(|plain| plain == name), "{name} is a secret");
    }
    assert!(secrets.contains(&"PGPASSWORD".to_owned()), "the address of the database holds no password");
}

/// The names of the maps' entries in a file of Terraform, that far from its left.
fn entries(text: &str, indent: usize) -> Vec<&str> {
    let left = " ".repeat(indent);
    let entries = text.lines().filter_map(|line| line.strip_prefix(&left)?.strip_suffix(" = {"));
    entries.filter(|name| !name.contains(' ')).collect()
}

#[test]
fn whoever_is_told_of_an_alarm_finds_what_to_do() {
    let read = |path: &str| std::fs::read_to_string(project::root().join(path)).unwrap();
    let (eyes, runbook) = (read("terraform/eyes.tf"), read("docs/runbook.md"));
    let mut alarms = entries(&eyes, 6);
    let mut headings: Vec<&str> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    alarms.sort_unstable();
    headings.sort_unstable();
    assert!(alarms.len() >= 8, "{alarms:?}");
    assert_eq!(alarms, headings);
    for section in runbook.split("\n## ").skip(1) {
        for word in ["**Means**", "**Look**", "**Do**"] {
            assert!(section.contains(word), "{word} is missing in {section}");
        }
    }
}
