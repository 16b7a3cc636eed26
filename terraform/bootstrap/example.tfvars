region            = "eu-central-1"
github_repository = "example/pagenow"
