# What runs: the core, the tunnel to Cloudflare, and two tasks that are run on demand.

resource "aws_ecr_repository" "core" {
  name                 = "${local.prefix}-core"
  image_tag_mutability = "IMMUTABLE"
  force_delete         = !var.deletion_protection

  image_scanning_configuration {
    scan_on_push = true
  }

  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = aws_kms_key.this.arn
  }
}

resource "aws_ecr_lifecycle_policy" "core" {
  repository = aws_ecr_repository.core.name

  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "Keep what a roll-back may need"
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 30 }
      action       = { type = "expire" }
    }]
  })
}

resource "aws_ecs_cluster" "this" {
  name = local.prefix

  # Its price is more than what it would tell: alarms are about the core's own line, and about what ECS measures anyway.
  setting {
    name  = "containerInsights"
    value = "disabled"
  }

  configuration {
    execute_command_configuration {
      kms_key_id = aws_kms_key.this.arn
      logging    = "OVERRIDE"

      log_configuration {
        cloud_watch_encryption_enabled = true
        cloud_watch_log_group_name     = aws_cloudwatch_log_group.task["operator"].name
      }
    }
  }
}

resource "aws_cloudwatch_log_group" "task" {
  for_each          = local.tasks
  name              = "/${local.prefix}/${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = aws_kms_key.this.arn
}

locals {
  core_runs = var.core_enabled && var.core_image != null

  # What the core is told, by name. A test of the core holds the names against `core-api serve --help`.
  core_names       = jsondecode(file("${path.module}/core-environment.json"))
  core_environment = { for name in local.core_names.environment : name => local.core_values[name] }
  core_secrets     = { for name in local.core_names.secrets : name => local.core_secret_arns[name] }

  core_values = {
    AWS_REGION               = var.region
    DATABASE_URL             = "postgres://pagenow_app@${local.database_host}:5432/pagenow?sslmode=verify-full"
    DATABASE_CONNECTIONS_MAX = tostring(var.database_connections_per_task)
    # Behind the proxy the limit is set by the proxy: what a core set would bind each connection to it.
    DATABASE_STATEMENT_MS_MAX = var.database_proxy ? "0" : tostring(local.statement_ms_max)
    EDGE_URL                  = "https://${var.edge_host}"
    EMAIL_VERIFIED            = var.email_verified
    OIDC_AUDIENCE             = local.oidc.audience
    OIDC_ISSUER               = local.oidc.issuer
    OIDC_JWKS_URL             = local.oidc.jwks_url
    # The proxy's certificate is one of Amazon's public ones.
    PGSSLROOTCERT         = var.database_proxy ? "/etc/ssl/certs/ca-certificates.crt" : "/etc/ssl/certs/rds.pem"
    PROFILE_IMAGES_BUCKET = aws_s3_bucket.images.id
    SHUTDOWN_MS_MAX       = "15000"
  }
  core_secret_arns = {
    EVENT_SIGNING_SECRET = aws_secretsmanager_secret.this["event-signing"].arn
    PGPASSWORD           = "${aws_secretsmanager_secret.this["app-password"].arn}:password::"
    SERVICE_TOKEN_SECRET = aws_secretsmanager_secret.this["service-token"].arn
  }
  migrate_environment = {
    DATABASE_URL  = "postgres://pagenow_owner@${aws_rds_cluster.this.endpoint}:5432/pagenow?sslmode=verify-full"
    PGSSLROOTCERT = "/etc/ssl/certs/rds.pem"
  }
  migrate_secrets = {
    PGPASSWORD = "${aws_secretsmanager_secret.this["owner-password"].arn}:password::"
  }
  # Makes both roles, as the administrator, whose password RDS made and rotates.
  roles_environment = {
    DATABASE_URL  = "postgres://administrator@${aws_rds_cluster.this.endpoint}:5432/pagenow?sslmode=verify-full"
    PGSSLROOTCERT = "/etc/ssl/certs/rds.pem"
  }
  roles_secrets = {
    DATABASE_APP_PASSWORD   = "${aws_secretsmanager_secret.this["app-password"].arn}:password::"
    DATABASE_OWNER_PASSWORD = "${aws_secretsmanager_secret.this["owner-password"].arn}:password::"
    PGPASSWORD              = "${aws_rds_cluster.this.master_user_secret[0].secret_arn}:password::"
  }
  operator_secrets = {
    PGPASSWORD = "${aws_secretsmanager_secret.this["app-password"].arn}:password::"
  }
  cloudflared_secrets = {
    TUNNEL_TOKEN = aws_secretsmanager_secret.tunnel.arn
  }

  # What each task is made of. Everything but `operator` runs as nobody, with a root that cannot be written.
  containers = {
    core = {
      image       = var.core_image
      command     = ["serve"]
      cpu         = var.core_cpu
      memory      = var.core_memory_mb
      user        = "65532:65532"
      read_only   = true
      environment = local.core_environment
      secrets     = local.core_secrets
      ports       = [8080]
      health      = ["CMD", "/usr/local/bin/core-api", "healthcheck"]
      # Longer than the core takes to end: SHUTDOWN_MS_MAX.
      stop_s = 30
    }
    migrate = {
      image       = var.core_image
      command     = ["migrate"]
      cpu         = 256
      memory      = 512
      user        = "65532:65532"
      read_only   = true
      environment = local.migrate_environment
      secrets     = local.migrate_secrets
      ports       = []
      health      = null
      stop_s      = 30
    }
    roles = {
      image       = var.core_image
      command     = ["bootstrap-database"]
      cpu         = 256
      memory      = 512
      user        = "65532:65532"
      read_only   = true
      environment = local.roles_environment
      secrets     = local.roles_secrets
      ports       = []
      health      = null
      stop_s      = 30
    }
    cloudflared = {
      image   = var.cloudflared_image
      command = ["tunnel", "--no-autoupdate", "--metrics", "0.0.0.0:2000", "run"]
      cpu     = 256
      memory  = 512
      user    = "65532:65532"
      # QUIC alone: over http2, names of the VPC are not found.
      environment = { TUNNEL_TRANSPORT_PROTOCOL = "quic" }
      read_only   = true
      secrets     = local.cloudflared_secrets
      ports       = []
      health      = ["CMD", "cloudflared", "tunnel", "--metrics", "localhost:2000", "ready"]
      stop_s      = 60
    }
    operator = {
      image = var.operator_image
      # It ends by itself after this time, should it be forgotten.
      command     = ["sleep", tostring(var.operator_seconds)]
      cpu         = 256
      memory      = 512
      user        = "0:0"
      read_only   = false
      environment = { PGHOST = aws_rds_cluster.this.endpoint, PGDATABASE = "pagenow", PGUSER = "pagenow_app", PGSSLMODE = "require" }
      secrets     = local.operator_secrets
      ports       = []
      health      = null
      stop_s      = 2
    }
  }
}

resource "aws_ecs_task_definition" "this" {
  # Without an image there is nothing to run: the first apply makes the repository that it is pushed to.
  for_each = { for name, container in local.containers : name => container if container.image != null }
  family   = "${local.prefix}-${each.key}"
  # ECS goes back to the one before, which must still be registered then.
  skip_destroy             = true
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = each.value.cpu
  memory                   = each.value.memory
  execution_role_arn       = aws_iam_role.execution[each.key].arn
  task_role_arn            = aws_iam_role.task[each.key].arn

  runtime_platform {
    cpu_architecture        = "ARM64"
    operating_system_family = "LINUX"
  }

  container_definitions = jsonencode([merge({
    name                   = each.key
    image                  = each.value.image
    essential              = true
    command                = each.value.command
    user                   = each.value.user
    readonlyRootFilesystem = each.value.read_only
    stopTimeout            = each.value.stop_s
    environment            = [for name, value in each.value.environment : { name = name, value = value }]
    secrets                = [for name, arn in each.value.secrets : { name = name, valueFrom = arn }]
    portMappings           = [for port in each.value.ports : { containerPort = port, protocol = "tcp" }]
    linuxParameters        = { initProcessEnabled = true }
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.task[each.key].name
        awslogs-region        = var.region
        awslogs-stream-prefix = each.key
      }
    }
    }, {
    # What is left out must not be null.
    for name, command in { healthCheck = each.value.health } :
    name => { command = command, interval = 10, timeout = 5, retries = 3, startPeriod = 30 } if command != null
  })])
}

resource "aws_lb" "core" {
  count                      = var.balancer ? 1 : 0
  name                       = "${local.prefix}-core"
  internal                   = true
  load_balancer_type         = "application"
  security_groups            = [aws_security_group.balancer[0].id]
  subnets                    = aws_subnet.private[*].id
  drop_invalid_header_fields = true
  enable_deletion_protection = var.deletion_protection
}

resource "aws_lb_target_group" "core" {
  count                = var.balancer ? 1 : 0
  name                 = "${local.prefix}-core"
  port                 = 8080
  protocol             = "HTTP"
  target_type          = "ip"
  vpc_id               = aws_vpc.this.id
  deregistration_delay = 15

  # Not /readyz: an outage of the database would replace every task.
  health_check {
    path                = "/healthz"
    matcher             = "200"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }
}

# Plain within the VPC: TLS ends at Cloudflare, and the tunnel is encrypted.
resource "aws_lb_listener" "core" {
  count             = var.balancer ? 1 : 0
  load_balancer_arn = aws_lb.core[0].arn
  port              = 80
  protocol          = "HTTP"

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.core[0].arn
  }
}

resource "aws_service_discovery_private_dns_namespace" "this" {
  count       = var.balancer ? 0 : 1
  name        = "${local.prefix}.internal"
  description = "Where the tunnel finds the core"
  vpc         = aws_vpc.this.id
}

resource "aws_service_discovery_service" "core" {
  count = var.balancer ? 0 : 1
  name  = "core"

  dns_config {
    namespace_id   = aws_service_discovery_private_dns_namespace.this[0].id
    routing_policy = "MULTIVALUE"

    dns_records {
      type = "A"
      ttl  = 5
    }
  }
}

# The core, behind a balancer or, without one, found by its name.
resource "aws_ecs_service" "balanced" {
  count                              = local.core_runs && var.balancer ? 1 : 0
  name                               = "core"
  cluster                            = aws_ecs_cluster.this.id
  task_definition                    = aws_ecs_task_definition.this["core"].arn
  desired_count                      = var.core_tasks_min
  launch_type                        = "FARGATE"
  availability_zone_rebalancing      = "ENABLED"
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  enable_execute_command             = false
  propagate_tags                     = "SERVICE"
  health_check_grace_period_seconds  = 30

  network_configuration {
    subnets         = aws_subnet.private[*].id
    security_groups = [aws_security_group.task["core"].id]
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.core[0].arn
    container_name   = "core"
    container_port   = 8080
  }

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  alarms {
    enable      = true
    rollback    = true
    alarm_names = local.going_back
  }

  lifecycle {
    # The autoscaler's.
    ignore_changes = [desired_count]
  }

  depends_on = [aws_lb_listener.core]
}

resource "aws_ecs_service" "found" {
  count                              = local.core_runs && !var.balancer ? 1 : 0
  name                               = "core"
  cluster                            = aws_ecs_cluster.this.id
  task_definition                    = aws_ecs_task_definition.this["core"].arn
  desired_count                      = var.core_tasks_min
  launch_type                        = "FARGATE"
  availability_zone_rebalancing      = "ENABLED"
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  enable_execute_command             = false
  propagate_tags                     = "SERVICE"

  network_configuration {
    subnets         = aws_subnet.private[*].id
    security_groups = [aws_security_group.task["core"].id]
  }

  service_registries {
    registry_arn = aws_service_discovery_service.core[0].arn
  }

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  alarms {
    enable      = true
    rollback    = true
    alarm_names = local.going_back
  }

  lifecycle {
    # The autoscaler's.
    ignore_changes = [desired_count]
  }
}

resource "aws_ecs_service" "cloudflared" {
  # What its first tasks need on their way out. Three that fail end a first deployment, and nothing begins another.
  depends_on = [
    aws_iam_role_policy.execution, aws_route.private, aws_secretsmanager_secret_version.tunnel, aws_vpc_security_group_egress_rule.internet,
  ]

  name                               = "cloudflared"
  cluster                            = aws_ecs_cluster.this.id
  task_definition                    = aws_ecs_task_definition.this["cloudflared"].arn
  desired_count                      = var.tunnel_tasks
  launch_type                        = "FARGATE"
  availability_zone_rebalancing      = "ENABLED"
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  enable_execute_command             = false
  propagate_tags                     = "SERVICE"

  network_configuration {
    subnets         = aws_subnet.private[*].id
    security_groups = [aws_security_group.task["cloudflared"].id]
  }

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }
}

resource "aws_appautoscaling_target" "core" {
  count              = local.core_runs ? 1 : 0
  service_namespace  = "ecs"
  resource_id        = "service/${aws_ecs_cluster.this.name}/${one(concat(aws_ecs_service.balanced[*].name, aws_ecs_service.found[*].name))}"
  scalable_dimension = "ecs:service:DesiredCount"
  min_capacity       = var.core_tasks_min
  max_capacity       = var.core_tasks_max
}

resource "aws_appautoscaling_policy" "cpu" {
  count              = local.core_runs ? 1 : 0
  name               = "${local.prefix}-cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.core[0].service_namespace
  resource_id        = aws_appautoscaling_target.core[0].resource_id
  scalable_dimension = aws_appautoscaling_target.core[0].scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value       = 60
    scale_out_cooldown = 60
    scale_in_cooldown  = 300

    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}

resource "aws_appautoscaling_policy" "requests" {
  count              = local.core_runs && var.balancer ? 1 : 0
  name               = "${local.prefix}-requests"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.core[0].service_namespace
  resource_id        = aws_appautoscaling_target.core[0].resource_id
  scalable_dimension = aws_appautoscaling_target.core[0].scalable_dimension

  target_tracking_scaling_policy_configuration {
    # A minute's requests of one task.
    target_value       = 6000
    scale_out_cooldown = 60
    scale_in_cooldown  = 300

    predefined_metric_specification {
      predefined_metric_type = "ALBRequestCountPerTarget"
      resource_label         = "${aws_lb.core[0].arn_suffix}/${aws_lb_target_group.core[0].arn_suffix}"
    }
  }
}

# Two roles a task: one by which ECS starts it, and reads exactly the secrets that it is given; one that it has while it runs.
locals {
  assume_by_tasks = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role" "execution" {
  for_each           = local.tasks
  name               = "${local.prefix}-${each.key}-start"
  description        = "Starts ${each.key}"
  assume_role_policy = local.assume_by_tasks

  permissions_boundary = local.boundary
}

resource "aws_iam_role_policy" "execution" {
  for_each = local.tasks
  name     = "start"
  role     = aws_iam_role.execution[each.key].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "OwnSecrets"
        Effect = "Allow"
        Action = "secretsmanager:GetSecretValue"
        # Of a secret of several values, the value is named after its address.
        Resource = sort([for arn in values(local.containers[each.key].secrets) : replace(arn, "/:[a-z]+::$/", "")])
      },
      {
        Sid      = "Decrypt"
        Effect   = "Allow"
        Action   = "kms:Decrypt"
        Resource = aws_kms_key.this.arn
      },
      {
        Sid      = "Log"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "${aws_cloudwatch_log_group.task[each.key].arn}:*"
      },
      {
        Sid      = "Pull"
        Effect   = "Allow"
        Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        Resource = aws_ecr_repository.core.arn
      },
      {
        # Has no resource.
        Sid      = "SignInToRegistry"
        Effect   = "Allow"
        Action   = "ecr:GetAuthorizationToken"
        Resource = "*"
      },
    ]
  })
}

resource "aws_iam_role" "task" {
  for_each           = local.tasks
  name               = "${local.prefix}-${each.key}"
  description        = "What ${each.key} may do"
  assume_role_policy = local.assume_by_tasks

  permissions_boundary = local.boundary
}

resource "aws_iam_role_policy" "core" {
  name = "images"
  role = aws_iam_role.task["core"].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
      Resource = "${aws_s3_bucket.images.arn}/*"
    }]
  })
}

# Nobody but the operator's task can be entered.
resource "aws_iam_role_policy" "operator" {
  name = "session"
  role = aws_iam_role.task["operator"].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        # Has no resource.
        Sid    = "Session"
        Effect = "Allow"
        Action = [
          "ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel",
          # What is typed is logged, and the agent looks for the group first.
          "logs:DescribeLogGroups",
        ]
        Resource = "*"
      },
      {
        Sid      = "Encrypt"
        Effect   = "Allow"
        Action   = "kms:Decrypt"
        Resource = aws_kms_key.this.arn
      },
      {
        Sid      = "LogSession"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
        Resource = "${aws_cloudwatch_log_group.task["operator"].arn}:*"
      },
    ]
  })
}
