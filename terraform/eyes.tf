# What tells operators that something is wrong. docs/runbook.md has a heading for each alarm, by its name here.

locals {
  # Fields of the core's line "minute" (core-api/src/minute.rs).
  minute = toset(["answers_5xx", "latency_p99_ms", "outbox_oldest_s"])

  namespace = "PageNow/${local.prefix}"
  notified  = [aws_sns_topic.alarms.arn]
  database  = { DBClusterIdentifier = aws_rds_cluster.this.cluster_identifier }

  # Each is about some minutes of five, so that a single slow one wakes nobody. `missing` is what no data means.
  alarms = merge(
    {
      core-errors = {
        about      = "The core failed to answer calls."
        namespace  = local.namespace
        metric     = "answers_5xx"
        dimensions = {}
        statistic  = "Sum"
        operator   = "GreaterThanOrEqualToThreshold"
        threshold  = 10
        minutes    = 3
        missing    = "notBreaching"
      }
      core-latency = {
        about      = "One in a hundred calls of the core takes more than a second."
        namespace  = local.namespace
        metric     = "latency_p99_ms"
        dimensions = {}
        statistic  = "Maximum"
        operator   = "GreaterThanThreshold"
        threshold  = 1000
        minutes    = 3
        missing    = "notBreaching"
      }
      # Each task writes a line a minute, so their number is that of the cores that live and say so.
      core-tasks = {
        about      = "Fewer tasks of the core run than must."
        namespace  = local.namespace
        metric     = "answers_5xx"
        dimensions = {}
        statistic  = "SampleCount"
        operator   = "LessThanThreshold"
        threshold  = local.core_runs ? var.core_tasks_min : 0
        minutes    = 5
        missing    = local.core_runs ? "breaching" : "notBreaching"
      }
      # ECS measures each task once a minute, and nothing when none runs.
      tunnel = {
        about      = "Fewer tasks of the tunnel run than must. Without one the edge cannot reach the core."
        namespace  = "AWS/ECS"
        metric     = "CPUUtilization"
        dimensions = { ClusterName = aws_ecs_cluster.this.name, ServiceName = "cloudflared" }
        statistic  = "SampleCount"
        operator   = "LessThanThreshold"
        threshold  = var.tunnel_tasks
        minutes    = 3
        missing    = "breaching"
      }
      outbox-age = {
        about      = "A change has waited for the edge for more than two minutes."
        namespace  = local.namespace
        metric     = "outbox_oldest_s"
        dimensions = {}
        statistic  = "Maximum"
        operator   = "GreaterThanThreshold"
        threshold  = 120
        minutes    = 3
        missing    = "notBreaching"
      }
      database-capacity = {
        about      = "The database is close to the most capacity that it may take."
        namespace  = "AWS/RDS"
        metric     = "ACUUtilization"
        dimensions = local.database
        statistic  = "Maximum"
        operator   = "GreaterThanThreshold"
        threshold  = 90
        minutes    = 5
        missing    = "notBreaching"
      }
      database-connections = {
        about      = "The cores hold most of the connections that PostgreSQL allows."
        namespace  = "AWS/RDS"
        metric     = "DatabaseConnections"
        dimensions = local.database
        statistic  = "Maximum"
        operator   = "GreaterThanThreshold"
        threshold  = floor(local.connections_max * 0.8)
        minutes    = 3
        missing    = "notBreaching"
      }
    },
    var.database_instances < 2 ? {} : {
      replica-lag = {
        about      = "The reader is behind the writer. A failover would take longer."
        namespace  = "AWS/RDS"
        metric     = "AuroraReplicaLag"
        dimensions = local.database
        statistic  = "Maximum"
        operator   = "GreaterThanThreshold"
        threshold  = 1000
        minutes    = 5
        missing    = "notBreaching"
      }
    },
  )

  # Deployments go back by themselves while one of these is raised.
  going_back = [for name in ["core-errors", "core-latency"] : "${local.prefix}-${name}"]
}

resource "aws_cloudwatch_log_metric_filter" "minute" {
  for_each       = local.minute
  name           = "${local.prefix}-${each.key}"
  log_group_name = aws_cloudwatch_log_group.task["core"].name
  pattern        = "{ $.message = \"minute\" && $.${each.key} = * }"

  metric_transformation {
    namespace = local.namespace
    name      = each.key
    value     = "$.${each.key}"
  }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each            = local.alarms
  alarm_name          = "${local.prefix}-${each.key}"
  alarm_description   = "${each.value.about} See docs/runbook.md, ${each.key}."
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = each.value.operator
  threshold           = each.value.threshold
  period              = 60
  evaluation_periods  = 5
  datapoints_to_alarm = each.value.minutes
  treat_missing_data  = each.value.missing
  alarm_actions       = local.notified
  ok_actions          = local.notified
}

resource "aws_sns_topic" "alarms" {
  name              = "${local.prefix}-alarms"
  kms_master_key_id = aws_kms_key.this.arn
}

# The recipient has to answer the mail that AWS sends first.
resource "aws_sns_topic_subscription" "alarms" {
  count     = var.alarm_email == null ? 0 : 1
  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = var.alarm_email
}

# Of the whole account: what belongs to an environment only shows in a bill by tags that somebody has to activate first.
resource "aws_budgets_budget" "this" {
  name         = local.prefix
  budget_type  = "COST"
  limit_amount = tostring(var.budget_usd)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  notification {
    comparison_operator        = "GREATER_THAN"
    notification_type          = "FORECASTED"
    threshold                  = 100
    threshold_type             = "PERCENTAGE"
    subscriber_email_addresses = var.alarm_email == null ? [] : [var.alarm_email]
    subscriber_sns_topic_arns  = local.notified
  }
}

# Budgets and alarms may write to the topic, for this account alone.
resource "aws_sns_topic_policy" "alarms" {
  arn = aws_sns_topic.alarms.arn

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "Alarms"
      Effect    = "Allow"
      Principal = { Service = ["cloudwatch.amazonaws.com", "budgets.amazonaws.com"] }
      Action    = "sns:Publish"
      Resource  = aws_sns_topic.alarms.arn
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}
