output "backend" {
  description = "What `terraform init -backend-config` takes for each environment's state."
  value = {
    bucket       = aws_s3_bucket.state.id
    region       = var.region
    kms_key_id   = aws_kms_key.state.arn
    encrypt      = true
    use_lockfile = true
  }
}

output "deploy_roles" {
  description = "The role of each environment, for the workflow's variable AWS_ROLE."
  value       = { for name, role in aws_iam_role.deploy : name => role.arn }
}
