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
    target = aws_db_proxy.this
    values = { endpoint = "proxy.example" }
  }

  override_resource {
    target = aws_cognito_user_pool.this
    values = { id = "eu-central-1_pool" }
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
  cors_origins          = []
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
        values(aws_vpc_security_group_ingress_rule.proxy),
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

  variables {
    database_proxy = true
  }

  assert {
    condition = alltrue([
      for role in concat(values(aws_iam_role.execution), values(aws_iam_role.task), [aws_iam_role.flow], aws_iam_role.proxy) :
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

run "behind_a_proxy_the_core_alone_and_nothing_that_binds_a_connection" {
  command = apply

  variables {
    database_proxy = true
  }

  assert {
    condition = alltrue([
      for name, host in { core = "proxy.example", migrate = "database.example", roles = "database.example" } : strcontains(
        one([for pair in jsondecode(aws_ecs_task_definition.this[name].container_definitions)[0].environment : pair.value if pair.name == "DATABASE_URL"]),
        "@${host}:5432/pagenow?sslmode=verify-full",
      )
    ])
    error_message = "a task goes to the proxy that must not, or the core passes it by"
  }

  assert {
    condition     = contains(jsondecode(aws_ecs_task_definition.this["core"].container_definitions)[0].environment, { name = "DATABASE_STATEMENT_MS_MAX", value = "0" })
    error_message = "the core sets a limit on each connection, which binds it"
  }

  assert {
    condition     = toset(keys(aws_vpc_security_group_ingress_rule.database)) == toset(["migrate", "operator", "proxy", "roles"])
    error_message = "the core may pass the proxy by, or somebody cannot reach the database"
  }

  assert {
    condition     = aws_db_proxy.this[0].require_tls && aws_db_proxy_default_target_group.this[0].connection_pool_config[0].init_query == "SET statement_timeout = 5000"
    error_message = "the proxy takes connections without TLS, or statements without a limit"
  }
}

run "a_roll_back_finds_the_task_definition_before" {
  command = apply

  assert {
    condition     = alltrue([for definition in aws_ecs_task_definition.this : definition.skip_destroy])
    error_message = "a deployment takes away what ECS would go back to"
  }
}

run "an_origin_twice_is_refused" {
  command = plan

  variables {
    cors_origins = ["https://web.example.org", "https://web.example.org"]
  }

  expect_failures = [var.cors_origins]
}

run "a_new_pool_knows_its_clients_by_pkce_and_is_protected" {
  command = apply

  variables {
    oidc_issuer   = null
    oidc_audience = null
    oidc_jwks_url = null
    cors_origins  = ["https://web.example.org", "chrome-extension://abcdefghijklmnopabcdefghijklmnop"]
    user_pool = {
      domain_prefix  = "pages-of-friends"
      email_identity = "arn:aws:ses:eu-central-1:123456789012:identity/example.org"
      redirect_urls  = ["https://0123456789abcdef.extensions.allizom.org/"]
    }
  }

  assert {
    condition     = one(aws_cognito_user_pool.this[0].email_configuration).source_arn == "arn:aws:ses:eu-central-1:123456789012:identity/example.org"
    error_message = "mails go out by the sender that AWS limits to a few a day"
  }

  assert {
    condition     = aws_cognito_user_pool.this[0].deletion_protection == "ACTIVE" && contains(aws_cognito_user_pool.this[0].auto_verified_attributes, "email")
    error_message = "users may be lost with the pool, or their addresses are not proven"
  }

  assert {
    condition     = !aws_cognito_user_pool_client.this[0].generate_secret && aws_cognito_user_pool_client.this[0].allowed_oauth_flows == toset(["code"]) && aws_cognito_user_pool_client.this[0].enable_token_revocation
    error_message = "the client is given a secret that it cannot keep, or tokens without a code"
  }

  assert {
    condition     = aws_cognito_user_pool_client.this[0].refresh_token_rotation[0].feature == "ENABLED" && !contains(aws_cognito_user_pool_client.this[0].explicit_auth_flows, "ALLOW_REFRESH_TOKEN_AUTH")
    error_message = "refresh tokens stay the same, or can be used past their rotation"
  }

  assert {
    condition = aws_cognito_user_pool_client.this[0].callback_urls == toset([
      "https://api.example.org/app/", "https://abcdefghijklmnopabcdefghijklmnop.chromiumapp.org/", "https://0123456789abcdef.extensions.allizom.org/",
    ])
    error_message = "sign-in cannot return to one of the clients, or to a stranger"
  }

  assert {
    condition     = output.configure.oidc_issuer == "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_pool" && output.configure.sign_in_origin == "https://pages-of-friends.auth.eu-central-1.amazoncognito.com"
    error_message = "the clients are sent elsewhere"
  }

  assert {
    condition     = contains(jsondecode(aws_ecs_task_definition.this["core"].container_definitions)[0].environment, { name = "OIDC_ISSUER", value = output.configure.oidc_issuer })
    error_message = "the core believes another provider"
  }
}

run "a_provider_and_a_new_pool_at_once_are_refused" {
  command = plan

  variables {
    user_pool = { domain_prefix = "pages-of-friends" }
  }

  expect_failures = [var.user_pool]
}

run "no_provider_at_all_is_refused" {
  command = plan

  variables {
    oidc_audience = null
  }

  expect_failures = [var.user_pool]
}

run "every_task_of_the_core_is_counted" {
  command = apply

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["core-tasks"].statistic == "SampleCount" && aws_cloudwatch_metric_alarm.this["core-tasks"].threshold == 2 && aws_cloudwatch_metric_alarm.this["core-tasks"].treat_missing_data == "breaching"
    error_message = "a core that says nothing raises no alarm"
  }
}
