//! The files of a deployment, checked against what the core reads: environment, network rules, sizes, the shell and the runbook.

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
    // Secrets are not in the plain environment, which everybody who may look at the task can read. `DATABASE_URL` may be, because
    // the password is in a variable of its own.
    for argument in serve.get_arguments().filter(|argument| argument.is_hide_env_values_set()) {
        let name = argument.get_env().unwrap().to_str().unwrap();
        assert!(name == "DATABASE_URL" || !environment.iter().any(|plain| plain == name), "{name} is a secret");
    }
    assert!(secrets.contains(&"PGPASSWORD".to_owned()), "the address of the database holds no password");
}

/// The names of the entries of maps in a Terraform file, at this depth of indentation.
fn entries(text: &str, indent: usize) -> Vec<&str> {
    let left = " ".repeat(indent);
    let entries = text.lines().filter_map(|line| line.strip_prefix(&left)?.strip_suffix(" = {"));
    entries.filter(|name| !name.contains(' ')).collect()
}

/// Every resource of the folder `terraform`: its type, its name and its text.
fn resources() -> Vec<(String, String, String)> {
    let mut resources = Vec::new();
    for entry in std::fs::read_dir(project::root().join("terraform")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "tf") {
            continue;
        }
        let text = std::fs::read_to_string(path).unwrap();
        for block in text.split("\nresource \"").skip(1) {
            let body = block.split_once("\n}").unwrap().0;
            let mut words = body.split('"');
            let (kind, name) = (words.next().unwrap(), words.nth(1).unwrap());
            resources.push((kind.to_owned(), name.to_owned(), body.to_owned()));
        }
    }
    resources
}

/// Whether the block sets an argument of one of these names.
fn sets(body: &str, arguments: &[&str]) -> bool {
    body.lines().any(|line| line.split_whitespace().next().is_some_and(|word| arguments.contains(&word)))
}

#[test]
fn every_ingress_rule_lets_in_only_a_security_group() {
    let resources = resources();
    let rules: Vec<_> = resources.iter().filter(|(kind, ..)| kind == "aws_vpc_security_group_ingress_rule").collect();
    assert!(rules.len() >= 5, "{rules:?}");
    for (_, name, body) in rules {
        assert!(sets(body, &["referenced_security_group_id"]), "{name} names no group");
        assert!(!sets(body, &["cidr_ipv4", "cidr_ipv6", "prefix_list_id"]), "{name} lets in addresses");
    }
    for (kind, name, body) in &resources {
        // The loop above does not see rules in the older forms, so there must be none.
        assert_ne!(kind, "aws_security_group_rule", "{name}");
        assert!(kind != "aws_security_group" || !sets(body, &["ingress", "egress"]), "{name} has rules of its own");
        assert!(!["aws_lb_listener_rule", "aws_eip_association", "aws_api_gateway_rest_api"].contains(&kind.as_str()));
    }
}

#[test]
fn no_route_leads_out_of_the_data_subnets() {
    let resources = resources();
    let of = |wanted: &str| -> Vec<_> { resources.iter().filter(|(kind, ..)| kind == wanted).collect() };
    assert!(of("aws_route").len() >= 2);
    for (_, name, body) in of("aws_route") {
        assert!(!body.contains("aws_route_table.data"), "{name} is a way out of the data subnets");
    }
    for (_, name, body) in of("aws_route_table") {
        assert!(!sets(body, &["route"]), "{name} has routes of its own");
    }
    let data = of("aws_route_table_association").into_iter().filter(|(.., body)| body.contains("aws_subnet.data"));
    for (_, name, body) in data {
        assert!(body.contains("aws_route_table.data.id"), "{name} gives data another table");
    }
}

#[test]
fn production_has_two_of_everything_that_may_fail() {
    let file = project::root().join("terraform/env/production.tfvars");
    let text = std::fs::read_to_string(file).unwrap();
    let set = |name: &str| {
        let line = text.lines().find(|line| line.split_whitespace().next() == Some(name));
        line.and_then(|line| line.split_once('=')).map(|(_, value)| value.trim()).unwrap_or_default()
    };
    for name in ["nat_gateways", "core_tasks_min", "tunnel_tasks", "database_instances"] {
        assert!(set(name).parse::<u32>().is_ok_and(|number| number >= 2), "production has one of {name}");
    }
    assert_eq!((set("environment"), set("balancer")), ("\"production\"", "true"));
    // The variable's default is that the database is protected. Anything else would have to be set here.
    assert_eq!(set("deletion_protection"), "");
    assert!(set("backup_retention_days").parse::<u32>().is_ok_and(|days| days >= 7));
}

/// Runs a command in a shell that has sourced `terraform/shell.sh` for a file of `env`. The `aws` of this shell answers with this
/// exit code when it is asked about a task.
fn in_shell(sizes: &str, exit_code: &str, command: &str) -> std::process::Output {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let terraform = project::root().join("terraform");
    std::fs::copy(terraform.join("example.tfvars"), dir.path().join("own.tfvars")).unwrap();
    std::os::unix::fs::symlink(terraform.join("env"), dir.path().join("env")).unwrap();
    let programs = [
        ("terraform", r#"echo '{"network":{"migrate":"the-network"}}'"#.to_owned()),
        (
            "aws",
            format!(
                r#"echo "aws $*" >&2; case $2 in run-task) echo the-task ;; describe-tasks) echo "{exit_code}" ;; esac"#
            ),
        ),
    ];
    for (name, text) in programs {
        let program = dir.path().join(name);
        std::fs::write(&program, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
    let script = format!(". '{}' {sizes}; {command}", terraform.join("shell.sh").display());
    let mut bash = std::process::Command::new("bash");
    bash.args(["-euc", &script]).current_dir(dir.path()).env("PATH", path).output().unwrap()
}

#[test]
fn the_shell_of_a_deployment_names_both_files_of_variables_and_reports_a_failed_task() {
    let told = in_shell("small", "0", "env; echo \"prefix=$prefix environment=$environment\"");
    let told = String::from_utf8(told.stdout).unwrap();
    for command in ["plan", "apply", "destroy", "import"] {
        let expected = format!("TF_CLI_ARGS_{command}=-var-file=env/small.tfvars -var-file=own.tfvars\n");
        assert!(told.contains(&expected), "{told}");
    }
    assert!(told.contains("AWS_REGION=eu-central-1\n"), "{told}");
    assert!(told.contains("prefix=pagenow-staging environment=staging"), "{told}");

    for (exit_code, succeeds) in
        [("0\tEssential container in task exited", true), ("1\tfailed", false), ("None\tno image", false)]
    {
        let ran = in_shell("production", exit_code, "run migrate --count 1");
        assert_eq!(ran.status.success(), succeeds, "{exit_code}: {ran:?}");
        let asked = String::from_utf8(ran.stderr).unwrap();
        assert!(asked.contains("--task-definition pagenow-production-migrate --count 1"), "{asked}");
        assert!(asked.contains("awsvpc") || asked.contains("the-network"), "{asked}");
        assert!(asked.contains("aws logs tail /pagenow-production/migrate"), "{asked}");
    }
    assert!(!in_shell("nothing", "0", "true").status.success(), "a file that is not there is taken");
}

#[test]
fn the_image_store_of_one_machine_takes_what_clients_send() {
    let caddyfile = std::fs::read_to_string(project::root().join("self-host/Caddyfile")).unwrap();
    let bound = format!("max_size {}MB\n", shared::limits::PROFILE_IMAGE_BYTES_MAX / 1_000_000);
    assert!(caddyfile.contains(&bound), "{bound} is not in {caddyfile}");
}

#[test]
fn the_runbook_has_a_section_for_every_alarm() {
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
