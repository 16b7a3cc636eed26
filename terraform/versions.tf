terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.66"
    }
    cloudflare = {
      source  = "cloudflare/cloudflare"
      version = "~> 5.28"
    }
    random = {
      source  = "hashicorp/random"
      version = "~> 3.9"
    }
  }

  # The rest comes with `terraform init -backend-config`: see the output `backend` of the bootstrap.
  backend "s3" {}
}

provider "aws" {
  region = var.region

  default_tags {
    tags = { project = var.name, environment = var.environment }
  }
}

# The token comes from CLOUDFLARE_API_TOKEN.
provider "cloudflare" {}
