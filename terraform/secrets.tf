# Secrets are made once, written without ever being read back, and stand in no state. The one exception is the tunnel's token, which
# the provider gives as data only (cloudflare.tf). To rotate one, raise its number in `secret_versions`.

locals {
  secrets = {
    app-password   = { description = "Password of the database role that serves", prefix = "" }
    owner-password = { description = "Password of the database role that owns", prefix = "" }
    # Standard Webhooks: whsec_ and base64.
    event-signing = { description = "EVENT_SIGNING_SECRET of the core, one of EVENT_SIGNING_SECRETS of the edge", prefix = "whsec_" }
    service-token = { description = "SERVICE_TOKEN_SECRET of both", prefix = "" }
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
    each.value.prefix == "" ? ephemeral.random_password.this[each.key].result
    : "${each.value.prefix}${base64encode(ephemeral.random_password.this[each.key].result)}"
  )
  secret_string_wo_version = lookup(var.secret_versions, each.key, 1)
}
