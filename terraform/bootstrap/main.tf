# What must be there before anything else: where Terraform keeps its state, and who may deploy. Applied once, by hand, with state
# on the administrator's own disk.

data "aws_caller_identity" "this" {}

locals {
  account = data.aws_caller_identity.this.account_id
  # Which workflows deploy to.
  by_workflow = var.github_repository == null ? toset([]) : var.environments
}

resource "aws_kms_key" "state" {
  description             = "Encrypts Terraform's state"
  enable_key_rotation     = true
  deletion_window_in_days = 30

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "AccountDecides"
      Effect    = "Allow"
      Principal = { AWS = "arn:aws:iam::${local.account}:root" }
      Action    = "kms:*"
      Resource  = "*"
    }]
  })
}

resource "aws_kms_alias" "state" {
  name          = "alias/${var.name}-state"
  target_key_id = aws_kms_key.state.key_id
}

resource "aws_s3_bucket" "state" {
  bucket = "${var.name}-state-${local.account}"

  lifecycle {
    prevent_destroy = true
  }
}

# The way back from a state that was broken.
resource "aws_s3_bucket_versioning" "state" {
  bucket = aws_s3_bucket.state.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "state" {
  bucket = aws_s3_bucket.state.id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.state.arn
    }
  }
}

resource "aws_s3_bucket_public_access_block" "state" {
  bucket                  = aws_s3_bucket.state.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_lifecycle_configuration" "state" {
  bucket = aws_s3_bucket.state.id

  rule {
    id     = "old-versions"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days = 180
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  depends_on = [aws_s3_bucket_versioning.state]
}

resource "aws_s3_bucket_policy" "state" {
  bucket = aws_s3_bucket.state.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TlsOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [aws_s3_bucket.state.arn, "${aws_s3_bucket.state.arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
}

# GitHub's workflows show who they are by tokens of this provider. AWS knows the provider's certificates itself.
resource "aws_iam_openid_connect_provider" "github" {
  count          = var.github_repository == null ? 0 : 1
  url            = "https://token.actions.githubusercontent.com"
  client_id_list = ["sts.amazonaws.com"]
}

resource "aws_iam_role" "deploy" {
  for_each             = local.by_workflow
  name                 = "${var.name}-deploy-${each.key}"
  description          = "Deploys the environment ${each.key} from GitHub"
  max_session_duration = 3600

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Federated = aws_iam_openid_connect_provider.github[0].arn }
      Action    = "sts:AssumeRoleWithWebIdentity"
      Condition = {
        StringEquals = {
          "token.actions.githubusercontent.com:aud" = "sts.amazonaws.com"
          "token.actions.githubusercontent.com:sub" = "repo:${var.github_repository}:environment:${each.key}"
        }
      }
    }]
  })
}

# Everything but people and permissions.
resource "aws_iam_role_policy_attachment" "deploy" {
  for_each   = local.by_workflow
  role       = aws_iam_role.deploy[each.key].name
  policy_arn = "arn:aws:iam::aws:policy/PowerUserAccess"
}

# The most that a role may ever do that a deployment makes: what the tasks of its environment need, whatever its own policy says.
resource "aws_iam_policy" "tasks" {
  for_each    = var.environments
  name        = "${var.name}-${each.key}-tasks"
  description = "The most that roles of ${each.key} may do"

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "OwnSecrets"
        Effect = "Allow"
        Action = "secretsmanager:GetSecretValue"
        Resource = [
          "arn:aws:secretsmanager:*:${local.account}:secret:${var.name}-${each.key}/*",
          # The administrator's, which the database makes itself.
          "arn:aws:secretsmanager:*:${local.account}:secret:rds!cluster-*",
        ]
      },
      {
        Sid       = "OwnKeys"
        Effect    = "Allow"
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = "arn:aws:kms:*:${local.account}:key/*"
        Condition = { StringEquals = { "aws:ResourceTag/environment" = each.key } }
      },
      {
        Sid      = "OwnLogs"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
        Resource = "arn:aws:logs:*:${local.account}:log-group:/${var.name}-${each.key}/*"
      },
      {
        Sid      = "OwnImages"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
        Resource = "arn:aws:s3:::${var.name}-${each.key}-images-${local.account}/*"
      },
      {
        Sid      = "Pull"
        Effect   = "Allow"
        Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        Resource = "arn:aws:ecr:*:${local.account}:repository/${var.name}-${each.key}*"
      },
      {
        # None of these has a resource.
        Sid    = "WithoutResource"
        Effect = "Allow"
        Action = [
          "ecr:GetAuthorizationToken", "logs:DescribeLogGroups",
          "ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel",
        ]
        Resource = "*"
      },
    ]
  })
}

# Roles of this environment's own tasks, and no others; nothing of another environment.
resource "aws_iam_role_policy" "deploy_roles" {
  for_each = local.by_workflow
  name     = "roles-of-the-environment"
  role     = aws_iam_role.deploy[each.key].name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        # A deployment that could give a role any policy could give itself everything.
        Sid       = "OwnRolesWithinTheBoundary"
        Effect    = "Allow"
        Action    = ["iam:CreateRole", "iam:PutRolePolicy", "iam:DeleteRolePolicy", "iam:PutRolePermissionsBoundary"]
        Resource  = "arn:aws:iam::${local.account}:role/${var.name}-${each.key}-*"
        Condition = { StringEquals = { "iam:PermissionsBoundary" = "arn:aws:iam::${local.account}:policy/${var.name}-${each.key}-tasks" } }
      },
      {
        Sid    = "OwnRoles"
        Effect = "Allow"
        Action = [
          "iam:DeleteRole", "iam:GetRole", "iam:UpdateRole", "iam:UpdateRoleDescription", "iam:UpdateAssumeRolePolicy", "iam:TagRole", "iam:UntagRole",
          "iam:ListRolePolicies", "iam:ListAttachedRolePolicies", "iam:ListInstanceProfilesForRole", "iam:GetRolePolicy",
        ]
        Resource = "arn:aws:iam::${local.account}:role/${var.name}-${each.key}-*"
      },
      {
        Sid       = "OwnRolesForTasks"
        Effect    = "Allow"
        Action    = "iam:PassRole"
        Resource  = "arn:aws:iam::${local.account}:role/${var.name}-${each.key}-*"
        Condition = { StringEquals = { "iam:PassedToService" = ["ecs-tasks.amazonaws.com", "rds.amazonaws.com", "vpc-flow-logs.amazonaws.com"] } }
      },
      {
        Sid      = "RolesThatServicesMakeForThemselves"
        Effect   = "Allow"
        Action   = "iam:CreateServiceLinkedRole"
        Resource = "arn:aws:iam::${local.account}:role/aws-service-role/*"
        Condition = {
          StringEquals = {
            "iam:AWSServiceName" = [
              "ecs.amazonaws.com", "ecs.application-autoscaling.amazonaws.com", "elasticloadbalancing.amazonaws.com", "rds.amazonaws.com",
            ]
          }
        }
      },
      {
        # What carries the name of another environment.
        Sid      = "NothingOfOthers"
        Effect   = "Deny"
        Action   = ["ecs:*", "kms:*", "rds:*", "secretsmanager:*"]
        Resource = "*"
        Condition = {
          Null            = { "aws:ResourceTag/environment" = "false" }
          StringNotEquals = { "aws:ResourceTag/environment" = each.key }
        }
      },
      {
        # Buckets are known by their names. With one environment there is none of another, and the statement names a bucket that never is.
        Sid    = "NoDataOfOthers"
        Effect = "Deny"
        Action = "s3:*"
        Resource = concat(
          ["arn:aws:s3:::${var.name}-none-images-${local.account}/*"],
          flatten([for other in sort(setsubtract(var.environments, [each.key])) : [
            "arn:aws:s3:::${var.name}-${other}-images-${local.account}",
            "arn:aws:s3:::${var.name}-${other}-images-${local.account}/*",
            "arn:aws:s3:::${var.name}-state-${local.account}/${other}",
            "arn:aws:s3:::${var.name}-state-${local.account}/${other}.tflock",
          ]]),
        )
      },
    ]
  })
}
