output "configure" {
  description = "What `cargo xtask configure` and `cargo xtask package` take: `terraform output -json configure`."
  value = merge(
    {
      edge_host       = var.edge_host
      core_service_id = cloudflare_connectivity_directory_service.core.id
      oidc_issuer     = local.oidc.issuer
      oidc_audience   = local.oidc.audience
      oidc_jwks_url   = local.oidc.jwks_url
      cors_origins    = var.cors_origins
      images_origin   = "https://${aws_s3_bucket.images.bucket_regional_domain_name}"
    },
    local.oidc.sign_in_origin == null ? {} : { sign_in_origin = local.oidc.sign_in_origin },
  )
}

output "core_repository" {
  description = "Where the core's image is pushed to."
  value       = aws_ecr_repository.core.repository_url
}

output "secrets" {
  description = "Where the edge's secrets are, for `wrangler secret put`."
  value       = { for name in ["event-signing", "service-token"] : name => aws_secretsmanager_secret.this[name].arn }
}

output "database_host" {
  description = "The writer's host, for a port that Session Manager forwards."
  value       = aws_rds_cluster.this.endpoint
}

output "run_task" {
  description = "What `aws ecs run-task` takes for migrate, operator and roles."
  value = {
    cluster = aws_ecs_cluster.this.name
    network = { for task in ["migrate", "operator", "roles"] : task => "awsvpcConfiguration={subnets=[${join(",", aws_subnet.private[*].id)}],securityGroups=[${aws_security_group.task[task].id}]}" }
  }
}

output "user_pool" {
  description = "The new Cognito pool, to which providers such as Google are added by hand; null without."
  value       = one(aws_cognito_user_pool.this[*].id)
}
