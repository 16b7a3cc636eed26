# Who signs people in: a provider that is there already, or a new Cognito pool. Passwords, user names and the ids of published clients
# belong to a predecessor's pool, so a cut-over keeps that one.

locals {
  pool_url = var.user_pool == null ? null : "https://cognito-idp.${var.region}.amazonaws.com/${aws_cognito_user_pool.this[0].id}"

  oidc = var.user_pool == null ? {
    issuer         = var.oidc_issuer
    audience       = var.oidc_audience
    jwks_url       = var.oidc_jwks_url
    sign_in_origin = var.sign_in_origin
    } : {
    issuer         = local.pool_url
    audience       = aws_cognito_user_pool_client.this[0].id
    jwks_url       = "${local.pool_url}/.well-known/jwks.json"
    sign_in_origin = "https://${aws_cognito_user_pool_domain.this[0].domain}.auth.${var.region}.amazoncognito.com"
  }

  # The page, the extension in Chromium, which has one for each of its ids, and what else was named: Firefox's.
  redirect_urls = var.user_pool == null ? [] : distinct(concat(
    ["https://${var.edge_host}/app/"],
    [for origin in var.cors_origins : replace(origin, "/^chrome-extension://([a-p]{32})$/", "https://$1.chromiumapp.org/") if startswith(origin, "chrome-extension://")],
    var.user_pool.redirect_urls,
  ))
}

resource "aws_cognito_user_pool" "this" {
  count                    = var.user_pool == null ? 0 : 1
  name                     = local.prefix
  user_pool_tier           = "ESSENTIALS"
  deletion_protection      = var.deletion_protection ? "ACTIVE" : "INACTIVE"
  username_attributes      = ["email"]
  auto_verified_attributes = ["email"]
  mfa_configuration        = "OPTIONAL"

  username_configuration {
    case_sensitive = false
  }

  # An address that was changed counts once it is proven, and until then the old one stays.
  user_attribute_update_settings {
    attributes_require_verification_before_update = ["email"]
  }

  email_configuration {
    email_sending_account = var.user_pool.email_identity == null ? "COGNITO_DEFAULT" : "DEVELOPER"
    source_arn            = var.user_pool.email_identity
  }

  account_recovery_setting {
    recovery_mechanism {
      name     = "verified_email"
      priority = 1
    }
  }

  password_policy {
    minimum_length                   = 12
    require_lowercase                = false
    require_numbers                  = false
    require_symbols                  = false
    require_uppercase                = false
    temporary_password_validity_days = 7
  }

  software_token_mfa_configuration {
    enabled = true
  }
}

# One client for the extension and the page. Neither can keep a secret: PKCE stands in its place.
resource "aws_cognito_user_pool_client" "this" {
  count                                = var.user_pool == null ? 0 : 1
  name                                 = "${local.prefix}-client"
  user_pool_id                         = aws_cognito_user_pool.this[0].id
  generate_secret                      = false
  allowed_oauth_flows                  = ["code"]
  allowed_oauth_flows_user_pool_client = true
  allowed_oauth_scopes                 = ["openid", "email", "profile"]
  callback_urls                        = local.redirect_urls
  logout_urls                          = local.redirect_urls
  # Sign-in is by the provider's page. Left out, this would allow refreshing past the rotation, which excludes that.
  explicit_auth_flows           = ["ALLOW_USER_SRP_AUTH"]
  supported_identity_providers  = concat(["COGNITO"], var.user_pool.identity_providers)
  prevent_user_existence_errors = "ENABLED"
  enable_token_revocation       = true
  access_token_validity         = 60
  id_token_validity             = 60
  refresh_token_validity        = 90

  token_validity_units {
    access_token  = "minutes"
    id_token      = "minutes"
    refresh_token = "days"
  }

  # Each refresh gives a new refresh token (RFC 9700, 4.14). The old one works for a while, for an answer that was lost on its way.
  refresh_token_rotation {
    feature                    = "ENABLED"
    retry_grace_period_seconds = 60
  }
}

resource "aws_cognito_user_pool_domain" "this" {
  count                 = var.user_pool == null ? 0 : 1
  domain                = var.user_pool.domain_prefix
  user_pool_id          = aws_cognito_user_pool.this[0].id
  managed_login_version = 2
}

# Managed login shows nothing for a client without a style.
resource "aws_cognito_managed_login_branding" "this" {
  count                       = var.user_pool == null ? 0 : 1
  client_id                   = aws_cognito_user_pool_client.this[0].id
  user_pool_id                = aws_cognito_user_pool.this[0].id
  use_cognito_provided_values = true
}
