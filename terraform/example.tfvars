# What only a deployment knows. Copy it, put your own values in, and keep it: nothing here is secret.
region                = "eu-central-1"
edge_host             = "api.example.org"
cors_origins          = ["https://web.example.org"]
cloudflare_account_id = "00000000000000000000000000000000"
cloudflare_zone_id    = "00000000000000000000000000000000"

# Who signs people in. The pool of a predecessor stays: passwords, user names and the ids of published clients belong to it.
oidc_issuer   = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_example"
oidc_audience = "0123456789abcdefghijklmnop"
oidc_jwks_url = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_example/.well-known/jwks.json"
# Where the sign-in page is, if that is another origin than the issuer's.
sign_in_origin = "https://example.auth.eu-central-1.amazoncognito.com"

# Images by digest, for ARM64. The core's is null until it is pushed.
core_image        = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/pagenow-production-core@sha256:0000000000000000000000000000000000000000000000000000000000000000"
cloudflared_image = "docker.io/cloudflare/cloudflared@sha256:0000000000000000000000000000000000000000000000000000000000000000"
operator_image    = "docker.io/library/postgres@sha256:0000000000000000000000000000000000000000000000000000000000000000"
