# What must hold in production, whatever else changes. Providers are mocked: no cloud is asked.

mock_provider "aws" {
  override_data {
    target = data.aws_availability_zones.these
    values = { names = ["xx-here-1a", "xx-here-1b", "xx-here-1c"] }
  }

  override_data {
    target = data.aws_caller_identity.this
    values = { account_id = "123456789012" }
  }

  override_resource {
    target = aws_rds_cluster.this
    values = {
      endpoint           = "database.example"
      master_user_secret = [{ secret_arn = "arn:of-the-administrator", kms_key_id = "key", secret_status = "active" }]
    }
  }
}

mock_provider "cloudflare" {}
# Not `random`, which asks nobody: Terraform cannot mock what is ephemeral.

variables {
  environment           = "production"
  region                = "eu-central-1"
  nat_gateways          = 2
  core_image            = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/core@sha256:1111111111111111111111111111111111111111111111111111111111111111"
  cloudflared_image     = "docker.io/cloudflare/cloudflared@sha256:2222222222222222222222222222222222222222222222222222222222222222"
  operator_image        = "docker.io/library/debian@sha256:3333333333333333333333333333333333333333333333333333333333333333"
  oidc_issuer           = "https://id.example.org/pool"
  oidc_audience         = "client"
  oidc_jwks_url         = "https://id.example.org/pool/keys"
  edge_host             = "api.example.org"
  cloudflare_account_id = "0123456789abcdef0123456789abcdef"
  cloudflare_zone_id    = "0123456789abcdef0123456789abcdef"
}

run "nothing_is_reached_from_outside_the_vpc" {
  command = apply

  assert {
    condition = alltrue([
      for rule in concat(
        [aws_vpc_security_group_ingress_rule.core],
        aws_vpc_security_group_ingress_rule.balancer,
        values(aws_vpc_security_group_ingress_rule.database),
        values(aws_vpc_security_group_ingress_rule.endpoints),
      ) : rule.cidr_ipv4 == null && rule.cidr_ipv6 == null && rule.prefix_list_id == null
    ])
    error_message = "a rule lets in an address instead of a group"
  }

  assert {
    condition     = alltrue([for balancer in aws_lb.core : balancer.internal])
    error_message = "the balancer is not internal"
  }

  assert {
    condition     = length(aws_default_security_group.none.ingress) == 0 && length(aws_default_security_group.none.egress) == 0
    error_message = "the default group lets something through"
  }

  assert {
    condition = alltrue(concat(
      [for service in aws_ecs_service.balanced : service.network_configuration[0].assign_public_ip != true],
      [aws_ecs_service.cloudflared.network_configuration[0].assign_public_ip != true],
      [for subnet in concat(aws_subnet.private, aws_subnet.data, aws_subnet.public) : subnet.map_public_ip_on_launch != true],
    ))
    error_message = "something gets a public address"
  }

  assert {
    condition     = alltrue([for block in ["block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets"] : aws_s3_bucket_public_access_block.images[block]])
    error_message = "the bucket of images may become public"
  }
}

run "two_zones_two_tasks_two_tunnels" {
  command = apply

  variables {
    tunnel_tasks       = 2
    core_tasks_min     = 2
    database_instances = 2
  }

  assert {
    condition = alltrue([
      for subnets in [aws_subnet.public, aws_subnet.private, aws_subnet.data] : length(distinct(subnets[*].availability_zone)) == 2
    ])
    error_message = "a tier is in one zone"
  }

  assert {
    condition     = length(distinct(aws_rds_cluster_instance.this[*].availability_zone)) == 2
    error_message = "both instances of the database are in one zone"
  }

  assert {
    condition     = aws_ecs_service.balanced[0].desired_count >= 2 && aws_ecs_service.cloudflared.desired_count >= 2
    error_message = "one task alone"
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 2
    error_message = "both zones leave through one gateway"
  }
}

run "everything_kept_is_encrypted_and_logs_end" {
  command = apply

  assert {
    condition     = aws_rds_cluster.this.storage_encrypted && aws_rds_cluster.this.deletion_protection && aws_rds_cluster.this.backup_retention_period >= 7
    error_message = "the database is not encrypted, protected or backed up"
  }

  assert {
    condition     = contains([for p in aws_rds_cluster_parameter_group.this.parameter : "${p.name}=${p.value}"], "rds.force_ssl=1")
    error_message = "PostgreSQL takes connections without TLS"
  }

  assert {
    condition     = alltrue([for group in concat(values(aws_cloudwatch_log_group.task), [aws_cloudwatch_log_group.flow]) : group.retention_in_days > 0])
    error_message = "a log is kept for ever"
  }

  assert {
    condition     = aws_ecr_repository.core.image_tag_mutability == "IMMUTABLE" && aws_ecr_repository.core.image_scanning_configuration[0].scan_on_push
    error_message = "images can be replaced, or are not scanned"
  }
}

run "tasks_are_confined_and_only_the_operators_can_be_entered" {
  command = apply

  assert {
    condition = alltrue([
      for name, task in aws_ecs_task_definition.this : name == "operator" || alltrue([
        for container in jsondecode(task.container_definitions) : container.readonlyRootFilesystem && container.user == "65532:65532"
      ])
    ])
    error_message = "a task may write its root, or runs as root"
  }

  assert {
    condition     = !aws_ecs_service.balanced[0].enable_execute_command && !aws_ecs_service.cloudflared.enable_execute_command
    error_message = "a service can be entered"
  }

  assert {
    condition     = length(regexall("ssmmessages", join("", concat([aws_iam_role_policy.core.policy], values(aws_iam_role_policy.execution)[*].policy)))) == 0
    error_message = "another role than the operator's may open a session"
  }

  assert {
    condition = alltrue([
      for name, policy in aws_iam_role_policy.execution : sort(flatten([
        for statement in jsondecode(policy.policy).Statement : statement.Resource if statement.Sid == "OwnSecrets"
      ])) == sort([for arn in values(local.containers[name].secrets) : replace(arn, "/:[a-z]+::$/", "")])
    ])
    error_message = "a role reads other secrets than its task is given"
  }

  assert {
    condition     = aws_ecs_service.balanced[0].deployment_circuit_breaker[0].rollback && aws_lb_target_group.core[0].health_check[0].path == "/healthz"
    error_message = "a failed deployment stays, or the database decides whether tasks are healthy"
  }
}

run "too_many_connections_are_refused" {
  command = plan

  variables {
    core_tasks_max                = 20
    database_connections_per_task = 40
    database_acu_max              = 8
  }

  expect_failures = [var.database_connections_per_task]
}

run "an_image_by_tag_is_refused" {
  command = plan

  variables {
    core_image = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/core:latest"
  }

  expect_failures = [var.core_image]
}

run "without_a_balancer_the_tunnel_finds_the_core_by_name" {
  command = apply

  variables {
    environment    = "staging"
    balancer       = false
    core_tasks_min = 1
    core_tasks_max = 2
  }

  assert {
    condition     = length(aws_lb.core) == 0 && length(aws_ecs_service.found) == 1 && length(aws_ecs_service.balanced) == 0
    error_message = "there is a balancer all the same"
  }

  assert {
    condition     = cloudflare_connectivity_directory_service.core.http_port == 8080 && cloudflare_connectivity_directory_service.core.host.hostname == "core.pagenow-staging.internal"
    error_message = "the tunnel leads elsewhere"
  }
}

run "before_the_first_image_no_core_runs" {
  command = apply

  variables {
    core_image = null
  }

  assert {
    condition     = length(aws_ecs_service.balanced) == 0 && !contains(keys(aws_ecs_task_definition.this), "core") && !contains(keys(aws_ecs_task_definition.this), "migrate")
    error_message = "a core is to run without an image"
  }
}

run "until_the_database_is_made_ready_no_core_runs_and_its_tasks_do" {
  command = apply

  variables {
    core_enabled = false
  }

  assert {
    condition     = length(aws_ecs_service.balanced) == 0 && contains(keys(aws_ecs_task_definition.this), "migrate") && contains(keys(aws_ecs_task_definition.this), "roles")
    error_message = "the core runs, or the tasks that make the database ready cannot"
  }
}

run "no_role_may_do_more_than_the_boundary_lets_it" {
  command = apply

  assert {
    condition = alltrue([
      for role in concat(values(aws_iam_role.execution), values(aws_iam_role.task), [aws_iam_role.flow]) :
      role.permissions_boundary == "arn:aws:iam::123456789012:policy/pagenow-production-tasks"
    ])
    error_message = "a role has no boundary"
  }

  assert {
    condition     = length(setsubtract(["core", "cloudflared", "migrate", "operator", "roles"], keys(aws_iam_role.task))) == 0
    error_message = "a task has no role"
  }

  assert {
    condition     = length([for route in [aws_route.public] : route if route.route_table_id == aws_route_table.data.id]) == 0 && length([for route in aws_route.private : route if route.route_table_id == aws_route_table.data.id]) == 0
    error_message = "the data subnets have a way out"
  }
}

run "the_cores_events_are_let_in_and_nobody_elses" {
  command = apply

  assert {
    condition = alltrue([
      cloudflare_ruleset.internal.rules[0].action == "block",
      strcontains(cloudflare_ruleset.internal.rules[0].expression, "not ip.src in {${join(" ", aws_eip.nat[*].public_ip)}}"),
      cloudflare_ruleset.internal.rules[1].action == "skip",
      strcontains(cloudflare_ruleset.internal.rules[1].expression, " ip.src in {${join(" ", aws_eip.nat[*].public_ip)}}"),
      !strcontains(cloudflare_ruleset.internal.rules[1].expression, "not ip.src"),
    ])
    error_message = "events of the core may be challenged, or those of others let in"
  }
}

run "whoever_runs_it_is_told" {
  command = apply

  variables {
    alarm_email = "operators@example.org"
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.this : length(alarm.alarm_actions) == 1 && length(alarm.ok_actions) == 1])
    error_message = "an alarm tells nobody"
  }

  assert {
    condition     = length(setsubtract(["core-errors", "core-latency", "core-tasks", "tunnel", "outbox-age", "database-capacity", "database-connections", "replica-lag"], keys(aws_cloudwatch_metric_alarm.this))) == 0
    error_message = "an alarm is missing"
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.this : alarm.datapoints_to_alarm > 1])
    error_message = "a single slow minute raises an alarm"
  }

  assert {
    condition     = alltrue([for service in aws_ecs_service.balanced : service.alarms[0].rollback && length(setintersection(service.alarms[0].alarm_names, [for alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_name])) == length(service.alarms[0].alarm_names)])
    error_message = "a deployment that makes the core fail is not taken back, or by an alarm that does not exist"
  }

  assert {
    condition     = aws_sns_topic_subscription.alarms[0].endpoint == "operators@example.org" && aws_budgets_budget.this.limit_amount == "400"
    error_message = "nobody is told, or not of the bill"
  }
}
