# How Cloudflare reaches the core, which nothing else on the internet does. wrangler deploys the Worker, its routes with it.

resource "cloudflare_zero_trust_tunnel_cloudflared" "this" {
  account_id = var.cloudflare_account_id
  name       = local.prefix
  config_src = "cloudflare"
}

data "cloudflare_zero_trust_tunnel_cloudflared_token" "this" {
  account_id = var.cloudflare_account_id
  tunnel_id  = cloudflare_zero_trust_tunnel_cloudflared.this.id
}

resource "aws_secretsmanager_secret" "tunnel" {
  name                    = "${local.prefix}/tunnel-token"
  description             = "Token of the tunnel"
  kms_key_id              = aws_kms_key.this.arn
  recovery_window_in_days = var.deletion_protection ? 30 : 0
}

# Write-only here, yet the data source above has it in the state: the provider leaves no other way. A reader of the state can run a
# replica of the tunnel, no more.
resource "aws_secretsmanager_secret_version" "tunnel" {
  secret_id                = aws_secretsmanager_secret.tunnel.id
  secret_string_wo         = data.cloudflare_zero_trust_tunnel_cloudflared_token.this.token
  secret_string_wo_version = lookup(var.secret_versions, "tunnel-token", 1)
}

# The Workers VPC service that the Worker's binding CORE names: one host behind the tunnel, and no more of the network.
resource "cloudflare_connectivity_directory_service" "core" {
  account_id = var.cloudflare_account_id
  name       = "${local.prefix}-core"
  type       = "http"
  http_port  = var.balancer ? 80 : 8080

  host = {
    hostname = var.balancer ? aws_lb.core[0].dns_name : "core.${aws_service_discovery_private_dns_namespace.this[0].name}"

    resolver_network = {
      tunnel_id = cloudflare_zero_trust_tunnel_cloudflared.this.id
    }
  }
}

# What the core tells the edge comes from the NAT's addresses alone. The edge checks the signature all the same.
resource "cloudflare_ruleset" "internal" {
  zone_id     = var.cloudflare_zone_id
  name        = "${local.prefix}-internal"
  description = "Events come from the core alone"
  kind        = "zone"
  phase       = "http_request_firewall_custom"

  rules = [
    {
      description = "Refuse /internal to everybody but the core"
      action      = "block"
      expression = format(
        "http.host eq \"%s\" and starts_with(lower(http.request.uri.path), \"/internal\") and not ip.src in {%s}",
        var.edge_host, join(" ", aws_eip.nat[*].public_ip)
      )
    },
    {
      # No browser sends them, so what looks for bots would challenge them.
      description = "Let the core's events pass what is meant for browsers"
      action      = "skip"
      expression = format(
        "http.host eq \"%s\" and http.request.uri.path eq \"/internal/events\" and ip.src in {%s}",
        var.edge_host, join(" ", aws_eip.nat[*].public_ip)
      )
      action_parameters = {
        phases   = ["http_ratelimit", "http_request_firewall_managed", "http_request_sbfm"]
        products = ["bic", "hot", "rateLimit", "securityLevel", "uaBlock", "waf", "zoneLockdown"]
      }
      logging = { enabled = true }
    },
  ]
}
