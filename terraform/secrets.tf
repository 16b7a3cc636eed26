# Secrets are made once, written without ever being read back, and stand in no state. The one exception is the tunnel's token, which
# the provider gives as data only (cloudflare.tf). To rotate one, raise its number in `secret_versions`.

locals {
  # `role`: of the database, and then the secret is `{"username", "password"}`, as RDS Proxy reads it.
  secrets = {
    app-password   = { description = "Password of the database role that serves", role = "pagenow_app" }
    owner-password = { description = "Password of the database role that owns", role = "pagenow_owner" }
    event-signing  = { description = "EVENT_SIGNING_SECRET of the core, one of EVENT_SIGNING_SECRETS of the edge", role = null }
    service-token  = { description = "SERVICE_TOKEN_SECRET of both", role = null }
  }
}

ephemeral "random_password" "this" {
  for_each = local.secrets
  length   = 48
  special  = false
}

resource "aws_secretsmanager_secret" "this" {
  for_each                = local.secrets
  name                    = "${local.prefix}/${each.key}"
  description             = each.value.description
  kms_key_id              = aws_kms_key.this.arn
  recovery_window_in_days = var.deletion_protection ? 30 : 0
}

resource "aws_secretsmanager_secret_version" "this" {
  for_each  = local.secrets
  secret_id = aws_secretsmanager_secret.this[each.key].id
  secret_string_wo = (
    each.value.role != null ? jsonencode({ username = each.value.role, password = ephemeral.random_password.this[each.key].result })
    # Standard Webhooks: whsec_ and base64.
    : each.key == "event-signing" ? "whsec_${base64encode(ephemeral.random_password.this[each.key].result)}"
    : ephemeral.random_password.this[each.key].result
  )
  secret_string_wo_version = lookup(var.secret_versions, each.key, 1)
}
