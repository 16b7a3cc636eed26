# Who may deploy what. The provider is mocked: no cloud is asked.

mock_provider "aws" {
  override_data {
    target = data.aws_caller_identity.this
    values = { account_id = "123456789012" }
  }
}

variables {
  region            = "eu-central-1"
  github_repository = "us/pagenow"
}

run "a_deployment_makes_roles_only_within_the_boundary_of_its_environment" {
  # The state's bucket refuses to be destroyed, as a test that applies would have to.
  command = plan

  assert {
    condition = alltrue([
      for environment, policy in aws_iam_role_policy.deploy_roles : alltrue([
        for statement in jsondecode(policy.policy).Statement : (
          statement.Effect == "Deny"
          || !anytrue([for action in flatten([statement.Action]) : contains(["iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy", "iam:*"], action)])
          || try(statement.Condition.StringEquals["iam:PermissionsBoundary"], "") == "arn:aws:iam::123456789012:policy/pagenow-${environment}-tasks"
        )
      ])
    ])
    error_message = "a deployment can make a role that may do more than its environment's tasks"
  }

  assert {
    condition = alltrue([
      for environment, policy in aws_iam_role_policy.deploy_roles : alltrue([
        for statement in jsondecode(policy.policy).Statement : alltrue([
          for resource in flatten([statement.Resource]) : (
            statement.Effect == "Deny" || startswith(resource, "arn:aws:iam::123456789012:role/pagenow-${environment}-") || endswith(resource, "role/aws-service-role/*")
          )
        ])
      ])
    ])
    error_message = "a deployment may change roles of others"
  }

  assert {
    condition = alltrue([
      for environment, policy in aws_iam_role_policy.deploy_roles : alltrue([
        for other in setsubtract(["staging", "production"], [environment]) : anytrue([
          for statement in jsondecode(policy.policy).Statement : statement.Effect == "Deny" && contains(flatten([statement.Resource]), "arn:aws:s3:::pagenow-state-123456789012/${other}")
        ])
      ])
    ])
    error_message = "a deployment may read the state of another environment"
  }

  assert {
    condition = alltrue([
      for environment, policy in aws_iam_policy.tasks : alltrue([
        for statement in jsondecode(policy.policy).Statement : statement.Effect == "Allow" && (
          !contains(flatten([statement.Resource]), "*") || statement.Sid == "WithoutResource"
        )
      ])
    ])
    error_message = "the boundary is none"
  }

  # Administrators' secrets are named by RDS, alike in every environment: their keys keep them apart.
  assert {
    condition = alltrue([
      for environment, policy in aws_iam_policy.tasks : alltrue([
        for statement in jsondecode(policy.policy).Statement : try(statement.Condition.StringEquals["aws:ResourceTag/environment"], "") == environment
        if contains(flatten([statement.Action]), "kms:Decrypt")
      ])
    ])
    error_message = "a task may decrypt what belongs to another environment"
  }

  assert {
    condition     = aws_s3_bucket_public_access_block.state.restrict_public_buckets && aws_s3_bucket_versioning.state.versioning_configuration[0].status == "Enabled"
    error_message = "the state is public, or cannot be gone back to"
  }
}

run "no_environment_is_named_as_the_deploy_roles_are" {
  command = plan

  variables {
    environments = ["deploy"]
  }

  expect_failures = [var.environments]
}

run "without_a_repository_nobody_can_take_a_role" {
  command = plan

  variables {
    github_repository = null
  }

  assert {
    condition     = length(aws_iam_role.deploy) == 0 && length(aws_iam_openid_connect_provider.github) == 0 && length(aws_iam_policy.tasks) == 2
    error_message = "a role waits for somebody, or an environment's tasks have no boundary"
  }
}

run "the_repository_of_the_example_is_refused" {
  command = plan

  variables {
    github_repository = "example/pagenow"
  }

  expect_failures = [var.github_repository]
}
