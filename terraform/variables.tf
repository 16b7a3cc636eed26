variable "name" {
  description = "How everything of this project is named, as in the bootstrap."
  type        = string
  default     = "pagenow"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 20 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "environment" {
  description = "Which environment this is: staging or production, as wrangler.toml has them."
  type        = string

  validation {
    condition     = contains(["staging", "production"], var.environment)
    error_message = "environment must be staging or production."
  }
}

variable "region" {
  description = "AWS region of everything."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be an AWS region, such as eu-central-1."
  }
}

variable "vpc_cidr" {
  description = "Addresses of the VPC, a /16 to /20 that no peer uses."
  type        = string
  default     = "10.40.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.vpc_cidr)) && try(tonumber(split("/", var.vpc_cidr)[1]) >= 16 && tonumber(split("/", var.vpc_cidr)[1]) <= 20, false)
    error_message = "vpc_cidr must be a network of /16 to /20, such as 10.40.0.0/16."
  }
}

variable "nat_gateways" {
  description = "1: both zones leave through one, and its zone's outage is one of both. 2: one in each zone."
  type        = number
  default     = 2

  validation {
    condition     = contains([1, 2], var.nat_gateways)
    error_message = "nat_gateways must be 1 or 2."
  }
}

variable "interface_endpoints" {
  description = "Whether AWS's own services are reached without NAT, for some $73 a month."
  type        = bool
  default     = false
}

variable "balancer" {
  description = "Whether an internal load balancer stands before the core. Without one, the tunnel finds tasks by Cloud Map, which suits a single task."
  type        = bool
  default     = true
}

variable "log_retention_days" {
  description = "How long logs are kept, in days."
  type        = number
  default     = 30

  validation {
    condition     = contains([7, 14, 30, 60, 90, 180, 365], var.log_retention_days)
    error_message = "log_retention_days must be 7, 14, 30, 60, 90, 180 or 365."
  }
}

variable "postgres_version" {
  description = "Version of Aurora PostgreSQL that the cluster begins with, 15 at least."
  type        = string
  default     = "17.5"

  validation {
    condition     = can(regex("^1[5-9]\\.[0-9]+$", var.postgres_version))
    error_message = "postgres_version must be 15.x or newer."
  }
}

variable "database_instances" {
  description = "1: one writer. 2: a writer, and a reader in the other zone that takes over."
  type        = number
  default     = 2

  validation {
    condition     = contains([1, 2], var.database_instances)
    error_message = "database_instances must be 1 or 2."
  }
}

variable "database_acu_min" {
  description = "Least capacity of an instance, in Aurora capacity units of 2 GiB. While a core runs it is used at all times, so 0 never pauses."
  type        = number
  default     = 0.5

  validation {
    condition     = var.database_acu_min >= 0.5 && var.database_acu_min <= 256 && floor(var.database_acu_min * 2) == var.database_acu_min * 2
    error_message = "database_acu_min must be 0.5 to 256 in steps of 0.5."
  }
}

variable "database_acu_max" {
  description = "Most capacity of an instance, in Aurora capacity units. PostgreSQL's limit of connections follows it."
  type        = number
  default     = 8

  validation {
    condition     = var.database_acu_max >= 1 && var.database_acu_max <= 256 && floor(var.database_acu_max * 2) == var.database_acu_max * 2
    error_message = "database_acu_max must be 1 to 256 in steps of 0.5."
  }
}

variable "database_proxy" {
  description = "Whether the core reaches the database through RDS Proxy, for those who share it with other services; some $88 a month at least."
  type        = bool
  default     = false
}

variable "backup_retention_days" {
  description = "How many days any moment of can be gone back to."
  type        = number
  default     = 14

  validation {
    condition     = var.backup_retention_days >= 1 && var.backup_retention_days <= 35
    error_message = "backup_retention_days must be 1 to 35."
  }
}

variable "final_snapshot" {
  description = "What the name of the snapshot ends in that `terraform destroy` leaves; another for each time."
  type        = string
  default     = "1"

  validation {
    condition     = can(regex("^[a-z0-9]{1,20}$", var.final_snapshot))
    error_message = "final_snapshot must be 1 to 20 lower-case letters and digits."
  }
}

variable "deletion_protection" {
  description = "Whether `terraform destroy` fails at the database and at a bucket that is not empty."
  type        = bool
  default     = true
}

variable "database_connections_per_task" {
  description = "Most connections of one core. All of them together must stay below what PostgreSQL allows."
  type        = number
  default     = 10

  validation {
    condition     = var.database_connections_per_task >= 2 && floor(var.database_connections_per_task) == var.database_connections_per_task
    error_message = "database_connections_per_task must be a whole number, 2 at least."
  }

  validation {
    # A reserve of 20 for operators and migrations.
    condition     = var.database_connections_per_task * var.core_tasks_max * 2 + 20 <= local.connections_max
    error_message = "database_connections_per_task times core_tasks_max, doubled while a new version is rolled out, exceeds the connections of database_acu_max."
  }
}

variable "core_image" {
  description = "Image of the core by digest, REPOSITORY@sha256:…; null before the first is pushed, and then no core runs."
  type        = string
  default     = null

  validation {
    condition     = var.core_image == null || can(regex("@sha256:[0-9a-f]{64}$", var.core_image))
    error_message = "core_image must name a digest, as in REPOSITORY@sha256:…"
  }
}

variable "core_enabled" {
  description = "Whether the core runs. Not before the roles of the database are made and it is migrated, for the first time."
  type        = bool
  default     = true
}

variable "cloudflared_image" {
  description = "Image of cloudflared for ARM64 by digest."
  type        = string

  validation {
    condition     = can(regex("@sha256:[0-9a-f]{64}$", var.cloudflared_image))
    error_message = "cloudflared_image must name a digest, as in docker.io/cloudflare/cloudflared@sha256:…"
  }
}

variable "operator_image" {
  description = "Debian with psql for ARM64 by digest, for the task that operators enter; null: there is none."
  type        = string
  default     = null

  validation {
    condition     = var.operator_image == null || can(regex("@sha256:[0-9a-f]{64}$", var.operator_image))
    error_message = "operator_image must name a digest."
  }
}

variable "operator_seconds" {
  description = "How long an operator's task lives, in seconds."
  type        = number
  default     = 14400

  validation {
    condition     = var.operator_seconds >= 60 && var.operator_seconds <= 43200
    error_message = "operator_seconds must be 60 to 43,200."
  }
}

variable "core_cpu" {
  description = "CPU of one core task, in units of which 1,024 are one vCPU."
  type        = number
  default     = 512

  validation {
    condition     = contains([256, 512, 1024, 2048, 4096], var.core_cpu)
    error_message = "core_cpu must be 256, 512, 1024, 2048 or 4096."
  }
}

variable "core_memory_mb" {
  description = "Memory of one core task, in MiB; Fargate has certain pairs with core_cpu only."
  type        = number
  default     = 1024

  validation {
    condition     = var.core_memory_mb >= 512 && var.core_memory_mb >= var.core_cpu * 2 && var.core_memory_mb <= var.core_cpu * 8
    error_message = "core_memory_mb must be 2 to 8 times core_cpu, and 512 at least."
  }
}

variable "core_tasks_min" {
  description = "Least number of core tasks."
  type        = number
  default     = 2

  validation {
    condition     = var.core_tasks_min >= 1
    error_message = "core_tasks_min must be 1 at least."
  }
}

variable "core_tasks_max" {
  description = "Most core tasks."
  type        = number
  default     = 20

  validation {
    condition     = var.core_tasks_max >= var.core_tasks_min && var.core_tasks_max <= 50
    error_message = "core_tasks_max must be core_tasks_min to 50."
  }
}

variable "tunnel_tasks" {
  description = "Tasks of cloudflared, spread over both zones."
  type        = number
  default     = 2

  validation {
    condition     = var.tunnel_tasks >= 1 && var.tunnel_tasks <= 10
    error_message = "tunnel_tasks must be 1 to 10."
  }
}

variable "user_pool" {
  description = <<-TEXT
    A new Cognito pool, where there is no provider to keep; null with oidc_issuer, oidc_audience and oidc_jwks_url.
    domain_prefix: the sign-in page is at https://PREFIX.auth.REGION.amazoncognito.com, a name that nobody else in the region has.
    email_identity: ARN of the SES identity that mails come from. Without it Cognito sends them itself, a few dozen a day at most.
    redirect_urls: where sign-in may return to, besides the page and the Chromium extensions of cors_origins: Firefox's.
    identity_providers: names of providers, such as Google, that were added to the pool as docs/deploy.md says.
  TEXT
  type = object({
    domain_prefix      = string
    email_identity     = optional(string)
    redirect_urls      = optional(list(string), [])
    identity_providers = optional(list(string), [])
  })
  default = null

  validation {
    condition     = var.user_pool == null || can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.user_pool.domain_prefix))
    error_message = "user_pool.domain_prefix must be 1 to 63 lower-case letters, digits and hyphens."
  }

  validation {
    condition     = try(length(regexall("aws|amazon|cognito", var.user_pool.domain_prefix)), 0) == 0
    error_message = "user_pool.domain_prefix must not contain aws, amazon or cognito: Cognito refuses them."
  }

  validation {
    condition     = try(var.user_pool.email_identity, null) == null || can(regex("^arn:aws:ses:[a-z0-9-]+:[0-9]{12}:identity/[^ ]+$", var.user_pool.email_identity))
    error_message = "user_pool.email_identity must be the ARN of an identity of SES."
  }

  validation {
    condition     = alltrue([for url in try(var.user_pool.redirect_urls, []) : can(regex("^https://[^ #@]+$", url))])
    error_message = "user_pool.redirect_urls must be https:// addresses without credentials or fragment."
  }

  validation {
    condition     = (var.user_pool == null) == (var.oidc_issuer != null && var.oidc_audience != null && var.oidc_jwks_url != null)
    error_message = "Give either user_pool, or all of oidc_issuer, oidc_audience and oidc_jwks_url."
  }
}

variable "oidc_issuer" {
  description = "Exactly the `iss` of tokens; null with a new pool."
  type        = string
  default     = null

  validation {
    condition     = var.oidc_issuer == null || can(regex("^https://[^ ?#@]+$", var.oidc_issuer))
    error_message = "oidc_issuer must be an https:// address without credentials, query or fragment."
  }
}

variable "sign_in_origin" {
  description = "The origin of the provider's sign-in page, where it is not the issuer's. Cognito's is that of the pool's domain."
  type        = string
  default     = null

  validation {
    condition     = var.sign_in_origin == null || can(regex("^https://[^ /?#@]+$", var.sign_in_origin))
    error_message = "sign_in_origin must be an https:// address without a path."
  }
}

variable "oidc_audience" {
  description = "The client id that tokens are meant for; null with a new pool."
  type        = string
  default     = null

  validation {
    condition     = var.oidc_audience == null || can(regex("^[!-~]+$", var.oidc_audience))
    error_message = "oidc_audience must be one word."
  }
}

variable "oidc_jwks_url" {
  description = "Where the issuer's signing keys are; null with a new pool."
  type        = string
  default     = null

  validation {
    condition     = var.oidc_jwks_url == null || can(regex("^https://[^ ?#@]+$", var.oidc_jwks_url))
    error_message = "oidc_jwks_url must be an https:// address without credentials, query or fragment."
  }
}

variable "email_verified" {
  description = "What a token's `email_verified` means: required or ignored."
  type        = string
  default     = "required"

  validation {
    condition     = contains(["required", "ignored"], var.email_verified)
    error_message = "email_verified must be required or ignored."
  }
}

variable "edge_host" {
  description = "Host name of the edge, such as api.example.org."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z][a-z0-9-]*[a-z0-9]$", var.edge_host))
    error_message = "edge_host must be a public host name in lower case."
  }
}

variable "cors_origins" {
  description = "Origins that may call: web pages elsewhere, and the extension for Chromium. The edge's own page and Firefox's extension need no entry, so the list may be empty, but must be given."
  type        = list(string)
  nullable    = false

  validation {
    condition     = alltrue([for one in var.cors_origins : can(regex("^(https://[a-z0-9.-]+(:[0-9]+)?|chrome-extension://[a-p]{32})$", one))])
    error_message = "cors_origins must be origins, such as https://web.example.org."
  }

  validation {
    condition     = length(distinct(var.cors_origins)) == length(var.cors_origins)
    error_message = "cors_origins names an origin twice."
  }
}

variable "cloudflare_account_id" {
  description = "The Cloudflare account."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f]{32}$", var.cloudflare_account_id))
    error_message = "cloudflare_account_id must be 32 hexadecimal digits."
  }
}

variable "cloudflare_zone_id" {
  description = "The Cloudflare zone of edge_host."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f]{32}$", var.cloudflare_zone_id))
    error_message = "cloudflare_zone_id must be 32 hexadecimal digits."
  }
}

variable "secret_versions" {
  description = "Raise the number of a secret to have a new one made: app-password, owner-password, event-signing, service-token, tunnel-token."
  type        = map(number)
  default     = {}

  validation {
    condition     = alltrue([for name, number in var.secret_versions : contains(["app-password", "owner-password", "event-signing", "service-token", "tunnel-token"], name) && number >= 1])
    error_message = "secret_versions knows app-password, owner-password, event-signing, service-token and tunnel-token, each 1 or more."
  }
}

variable "alarm_email" {
  description = "Who is told when an alarm is raised, and when the bill is going to exceed the budget; null tells nobody."
  type        = string
  default     = null

  validation {
    condition     = var.alarm_email == null || can(regex("^[^@ ]+@[^@ ]+$", var.alarm_email))
    error_message = "alarm_email must be an e-mail address."
  }
}

variable "budget_usd" {
  description = "What the account may cost a month, in US dollars, before the readers of the alarms are told."
  type        = number
  default     = 400

  validation {
    condition     = var.budget_usd >= 1
    error_message = "budget_usd must be 1 at least."
  }
}
