variable "name" {
  description = "How everything of this project is named in the account: lower-case letters, digits and hyphens."
  type        = string
  default     = "pagenow"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 20 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "region" {
  description = "AWS region of the state, and of the environments."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be an AWS region, such as eu-central-1."
  }
}

variable "github_repository" {
  description = "The repository whose workflows may deploy, as owner/name. Null: none may, and only an administrator deploys."
  type        = string
  default     = null

  validation {
    condition     = var.github_repository == null || can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.github_repository))
    error_message = "github_repository must be owner/name."
  }

  validation {
    condition     = !startswith(coalesce(var.github_repository, "none"), "example/")
    error_message = "github_repository must be your own repository: workflows of the one it names can change everything here."
  }
}

variable "environments" {
  description = "Environments that are deployed. Each has a boundary for the roles of its tasks and, with github_repository, a role that only jobs of GitHub's environment of that name can take."
  type        = set(string)
  default     = ["staging", "production"]

  validation {
    # Others do not exist, and one named "deploy" could change the deploy roles themselves, whose names begin like its own.
    condition     = length(var.environments) > 0 && length(setsubtract(var.environments, ["staging", "production"])) == 0
    error_message = "environments must be staging, production, or both."
  }
}
