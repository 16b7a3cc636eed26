# What must not be lost: the database and the images.

data "aws_caller_identity" "this" {}

locals {
  account = data.aws_caller_identity.this.account_id

  # The most that a role of this environment may do: the bootstrap makes it, and lets no deployment make a role without it.
  boundary = "arn:aws:iam::${local.account}:policy/${local.prefix}-tasks"

  # What PostgreSQL allows: at least 189 for the first two ACU and some 90 for each further one, up to 5,000; up to 2,000
  # where an instance may shrink to half a unit.
  connections_max = min(var.database_acu_min < 1 ? 2000 : 5000, max(189, floor(var.database_acu_max * 90)))
}

# Encrypts everything of this environment that is kept.
resource "aws_kms_key" "this" {
  description             = "Data of ${local.prefix}"
  enable_key_rotation     = true
  deletion_window_in_days = 30

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "AccountDecides"
        Effect    = "Allow"
        Principal = { AWS = "arn:aws:iam::${local.account}:root" }
        Action    = "kms:*"
        Resource  = "*"
      },
      {
        Sid       = "Logs"
        Effect    = "Allow"
        Principal = { Service = "logs.${var.region}.amazonaws.com" }
        Action    = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
        Resource  = "*"
        Condition = {
          ArnLike = { "kms:EncryptionContext:aws:logs:arn" = "arn:aws:logs:${var.region}:${local.account}:log-group:/${local.prefix}/*" }
        }
      },
      {
        Sid       = "Alarms"
        Effect    = "Allow"
        Principal = { Service = ["cloudwatch.amazonaws.com", "budgets.amazonaws.com"] }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
        Resource  = "*"
        Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
      },
    ]
  })
}

resource "aws_kms_alias" "this" {
  name          = "alias/${local.prefix}"
  target_key_id = aws_kms_key.this.key_id
}

resource "aws_db_subnet_group" "this" {
  name       = local.prefix
  subnet_ids = aws_subnet.data[*].id
}

resource "aws_rds_cluster_parameter_group" "this" {
  name   = local.prefix
  family = "aurora-postgresql${split(".", var.postgres_version)[0]}"

  # Nobody connects without TLS.
  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }

  # Statements hold what users wrote, so none is logged, slow or failing.
  parameter {
    name  = "log_min_error_statement"
    value = "panic"
  }
}

resource "aws_rds_cluster" "this" {
  cluster_identifier              = local.prefix
  engine                          = "aurora-postgresql"
  engine_mode                     = "provisioned"
  engine_version                  = var.postgres_version
  database_name                   = "pagenow"
  master_username                 = "administrator"
  manage_master_user_password     = true
  master_user_secret_kms_key_id   = aws_kms_key.this.key_id
  db_subnet_group_name            = aws_db_subnet_group.this.name
  db_cluster_parameter_group_name = aws_rds_cluster_parameter_group.this.name
  vpc_security_group_ids          = [aws_security_group.database.id]
  storage_encrypted               = true
  kms_key_id                      = aws_kms_key.this.arn
  # Any moment of so many days can be gone back to.
  backup_retention_period      = var.backup_retention_days
  preferred_backup_window      = "02:00-03:00"
  preferred_maintenance_window = "sun:03:30-sun:04:30"
  copy_tags_to_snapshot        = true
  deletion_protection          = var.deletion_protection
  skip_final_snapshot          = false
  final_snapshot_identifier    = "${local.prefix}-final-${var.final_snapshot}"

  serverlessv2_scaling_configuration {
    min_capacity = var.database_acu_min
    max_capacity = var.database_acu_max
  }

  lifecycle {
    # Upgrades of the engine are asked for by hand.
    ignore_changes = [engine_version]
  }
}

# The first writes; a second, in another zone, takes over within a minute.
resource "aws_rds_cluster_instance" "this" {
  count                           = var.database_instances
  identifier                      = "${local.prefix}-${count.index}"
  cluster_identifier              = aws_rds_cluster.this.id
  engine                          = aws_rds_cluster.this.engine
  engine_version                  = aws_rds_cluster.this.engine_version
  instance_class                  = "db.serverless"
  availability_zone               = local.zones[count.index]
  auto_minor_version_upgrade      = true
  performance_insights_enabled    = true
  performance_insights_kms_key_id = aws_kms_key.this.arn
  promotion_tier                  = count.index
}

# For those who share the database with other services: a pool of connections in front of it. Migrations and operators pass it by,
# since what they set and lock is a connection's own.
locals {
  statement_ms_max = 5000
  database_host    = var.database_proxy ? aws_db_proxy.this[0].endpoint : aws_rds_cluster.this.endpoint
}

resource "aws_db_proxy" "this" {
  count                  = var.database_proxy ? 1 : 0
  name                   = local.prefix
  engine_family          = "POSTGRESQL"
  require_tls            = true
  role_arn               = aws_iam_role.proxy[0].arn
  vpc_subnet_ids         = aws_subnet.data[*].id
  vpc_security_group_ids = [aws_security_group.proxy[0].id]

  auth {
    auth_scheme               = "SECRETS"
    client_password_auth_type = "POSTGRES_SCRAM_SHA_256"
    iam_auth                  = "DISABLED"
    secret_arn                = aws_secretsmanager_secret.this["app-password"].arn
  }

  depends_on = [aws_iam_role_policy.proxy]
}

resource "aws_db_proxy_default_target_group" "this" {
  count         = var.database_proxy ? 1 : 0
  db_proxy_name = aws_db_proxy.this[0].name

  connection_pool_config {
    connection_borrow_timeout = 5
    init_query                = "SET statement_timeout = ${local.statement_ms_max}"
    max_connections_percent   = 80
  }
}

resource "aws_db_proxy_target" "this" {
  count                 = var.database_proxy ? 1 : 0
  db_proxy_name         = aws_db_proxy.this[0].name
  target_group_name     = aws_db_proxy_default_target_group.this[0].name
  db_cluster_identifier = aws_rds_cluster.this.cluster_identifier

  depends_on = [aws_rds_cluster_instance.this]
}

resource "aws_iam_role" "proxy" {
  count                = var.database_proxy ? 1 : 0
  name                 = "${local.prefix}-proxy"
  description          = "Reads the password that the proxy signs in with"
  permissions_boundary = local.boundary

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "rds.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role_policy" "proxy" {
  count = var.database_proxy ? 1 : 0
  name  = "password"
  role  = aws_iam_role.proxy[0].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "OwnSecrets"
        Effect   = "Allow"
        Action   = "secretsmanager:GetSecretValue"
        Resource = aws_secretsmanager_secret.this["app-password"].arn
      },
      {
        Sid      = "Decrypt"
        Effect   = "Allow"
        Action   = "kms:Decrypt"
        Resource = aws_kms_key.this.arn
      },
    ]
  })
}

resource "aws_s3_bucket" "images" {
  bucket        = "${local.prefix}-images-${local.account}"
  force_destroy = !var.deletion_protection
}

resource "aws_s3_bucket_public_access_block" "images" {
  bucket                  = aws_s3_bucket.images.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "images" {
  bucket = aws_s3_bucket.images.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_versioning" "images" {
  bucket = aws_s3_bucket.images.id

  versioning_configuration {
    status = "Enabled"
  }
}

# What a user has removed stays for a week, should it be needed after all.
resource "aws_s3_bucket_lifecycle_configuration" "images" {
  bucket = aws_s3_bucket.images.id

  rule {
    id     = "removed"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days = 7
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }

  depends_on = [aws_s3_bucket_versioning.images]
}

# Browsers upload straight to the bucket, by a URL that the core has signed.
resource "aws_s3_bucket_cors_configuration" "images" {
  bucket = aws_s3_bucket.images.id

  cors_rule {
    allowed_methods = ["PUT"]
    allowed_origins = ["*"]
    allowed_headers = ["content-type", "x-amz-acl"]
    max_age_seconds = 86400
  }
}

resource "aws_s3_bucket_policy" "images" {
  bucket = aws_s3_bucket.images.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TlsOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [aws_s3_bucket.images.arn, "${aws_s3_bucket.images.arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
}
