region = "eu-central-1"
# Where workflows of GitHub deploy. Protect its environments "staging" and "production" first: GitHub makes them, unprotected, for any
# workflow that names them.
# github_repository = "OWNER/NAME"
