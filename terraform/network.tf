# Two zones, each with a public subnet for NAT alone, a private one for tasks and one for data that leads nowhere. Nothing here is
# reached from the internet: the tunnel to Cloudflare is opened from inside.

data "aws_availability_zones" "these" {
  state = "available"
}

locals {
  prefix = "${var.name}-${var.environment}"
  zones  = slice(data.aws_availability_zones.these.names, 0, 2)
}

resource "aws_vpc" "this" {
  cidr_block           = var.vpc_cidr
  enable_dns_hostnames = true
  enable_dns_support   = true
  tags                 = { Name = local.prefix }
}

# A resource without a named group gets this one, which lets nothing through.
resource "aws_default_security_group" "none" {
  vpc_id  = aws_vpc.this.id
  ingress = []
  egress  = []
}

resource "aws_subnet" "public" {
  count             = 2
  vpc_id            = aws_vpc.this.id
  availability_zone = local.zones[count.index]
  cidr_block        = cidrsubnet(var.vpc_cidr, 4, count.index)
  tags              = { Name = "${local.prefix}-public-${count.index}" }
}

resource "aws_subnet" "private" {
  count             = 2
  vpc_id            = aws_vpc.this.id
  availability_zone = local.zones[count.index]
  cidr_block        = cidrsubnet(var.vpc_cidr, 4, 2 + count.index)
  tags              = { Name = "${local.prefix}-private-${count.index}" }
}

resource "aws_subnet" "data" {
  count             = 2
  vpc_id            = aws_vpc.this.id
  availability_zone = local.zones[count.index]
  cidr_block        = cidrsubnet(var.vpc_cidr, 4, 4 + count.index)
  tags              = { Name = "${local.prefix}-data-${count.index}" }
}

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id
  tags   = { Name = local.prefix }
}

resource "aws_eip" "nat" {
  count  = var.nat_gateways
  domain = "vpc"
  tags   = { Name = "${local.prefix}-nat-${count.index}" }
}

resource "aws_nat_gateway" "this" {
  count         = var.nat_gateways
  allocation_id = aws_eip.nat[count.index].id
  subnet_id     = aws_subnet.public[count.index].id
  tags          = { Name = "${local.prefix}-${count.index}" }

  depends_on = [aws_internet_gateway.this]
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.this.id
  tags   = { Name = "${local.prefix}-public" }
}

resource "aws_route" "public" {
  route_table_id         = aws_route_table.public.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this.id
}

resource "aws_route_table_association" "public" {
  count          = 2
  subnet_id      = aws_subnet.public[count.index].id
  route_table_id = aws_route_table.public.id
}

resource "aws_route_table" "private" {
  count  = 2
  vpc_id = aws_vpc.this.id
  tags   = { Name = "${local.prefix}-private-${count.index}" }
}

# With one gateway, both zones leave through it, and an outage of its zone is one of both.
resource "aws_route" "private" {
  count                  = 2
  route_table_id         = aws_route_table.private[count.index].id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.this[min(count.index, var.nat_gateways - 1)].id
}

resource "aws_route_table_association" "private" {
  count          = 2
  subnet_id      = aws_subnet.private[count.index].id
  route_table_id = aws_route_table.private[count.index].id
}

# Within the VPC alone.
resource "aws_route_table" "data" {
  vpc_id = aws_vpc.this.id
  tags   = { Name = "${local.prefix}-data" }
}

resource "aws_route_table_association" "data" {
  count          = 2
  subnet_id      = aws_subnet.data[count.index].id
  route_table_id = aws_route_table.data.id
}

# Free, and images do not pass the NAT.
resource "aws_vpc_endpoint" "s3" {
  vpc_id          = aws_vpc.this.id
  service_name    = "com.amazonaws.${var.region}.s3"
  route_table_ids = aws_route_table.private[*].id
  tags            = { Name = "${local.prefix}-s3" }
}

locals {
  # Five in two zones cost some $73 a month, while NAT is needed anyway for Cloudflare and the identity provider.
  interface_endpoints = var.interface_endpoints ? toset(["ecr.api", "ecr.dkr", "logs", "secretsmanager", "ssmmessages"]) : toset([])
}

resource "aws_vpc_endpoint" "interface" {
  for_each            = local.interface_endpoints
  vpc_id              = aws_vpc.this.id
  service_name        = "com.amazonaws.${var.region}.${each.key}"
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  subnet_ids          = aws_subnet.private[*].id
  security_group_ids  = [aws_security_group.endpoints.id]
  tags                = { Name = "${local.prefix}-${each.key}" }
}

resource "aws_security_group" "endpoints" {
  name        = "${local.prefix}-endpoints"
  description = "Interface endpoints"
  vpc_id      = aws_vpc.this.id
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  for_each                     = var.interface_endpoints ? local.tasks : toset([])
  security_group_id            = aws_security_group.endpoints.id
  description                  = "From tasks"
  referenced_security_group_id = aws_security_group.task[each.key].id
  from_port                    = 443
  to_port                      = 443
  ip_protocol                  = "tcp"
}

resource "aws_flow_log" "this" {
  vpc_id                   = aws_vpc.this.id
  traffic_type             = "REJECT"
  log_destination          = aws_cloudwatch_log_group.flow.arn
  iam_role_arn             = aws_iam_role.flow.arn
  max_aggregation_interval = 600
}

resource "aws_cloudwatch_log_group" "flow" {
  name              = "/${local.prefix}/flow"
  retention_in_days = var.log_retention_days
  kms_key_id        = aws_kms_key.this.arn
}

resource "aws_iam_role" "flow" {
  name                 = "${local.prefix}-flow"
  permissions_boundary = local.boundary

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "vpc-flow-logs.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role_policy" "flow" {
  name = "write"
  role = aws_iam_role.flow.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
      Resource = "${aws_cloudwatch_log_group.flow.arn}:*"
    }]
  })
}

# Who may talk to whom. Each task has a group of its own, and every rule names the group at its other end.
locals {
  tasks = toset(["core", "cloudflared", "migrate", "operator", "roles"])

  # To the internet, by NAT: Cloudflare, the identity provider, registries and AWS's own services.
  tasks_to_internet = {
    for rule in flatten([
      [for task in local.tasks : { task = task, port = 443, protocol = "tcp" }],
      # The tunnel's QUIC.
      [{ task = "cloudflared", port = 7844, protocol = "udp" }],
    ]) : "${rule.task}-${rule.protocol}-${rule.port}" => rule
  }
}

resource "aws_security_group" "task" {
  for_each    = local.tasks
  name        = "${local.prefix}-${each.key}"
  description = "Tasks of ${each.key}"
  vpc_id      = aws_vpc.this.id
}

resource "aws_vpc_security_group_egress_rule" "internet" {
  for_each          = local.tasks_to_internet
  security_group_id = aws_security_group.task[each.value.task].id
  description       = "To the internet"
  cidr_ipv4         = "0.0.0.0/0"
  from_port         = each.value.port
  to_port           = each.value.port
  ip_protocol       = each.value.protocol
}

resource "aws_security_group" "balancer" {
  count       = var.balancer ? 1 : 0
  name        = "${local.prefix}-balancer"
  description = "The internal load balancer"
  vpc_id      = aws_vpc.this.id
}

locals {
  # Who leads to the core: the balancer, or the tunnel straight.
  before_core = var.balancer ? aws_security_group.balancer[0].id : aws_security_group.task["cloudflared"].id
}

resource "aws_vpc_security_group_ingress_rule" "core" {
  security_group_id            = aws_security_group.task["core"].id
  description                  = "Calls"
  referenced_security_group_id = local.before_core
  from_port                    = 8080
  to_port                      = 8080
  ip_protocol                  = "tcp"
}

resource "aws_vpc_security_group_egress_rule" "to_core" {
  security_group_id            = local.before_core
  description                  = "Calls to the core"
  referenced_security_group_id = aws_security_group.task["core"].id
  from_port                    = 8080
  to_port                      = 8080
  ip_protocol                  = "tcp"
}

resource "aws_vpc_security_group_ingress_rule" "balancer" {
  count                        = var.balancer ? 1 : 0
  security_group_id            = aws_security_group.balancer[0].id
  description                  = "From the tunnel"
  referenced_security_group_id = aws_security_group.task["cloudflared"].id
  from_port                    = 80
  to_port                      = 80
  ip_protocol                  = "tcp"
}

resource "aws_vpc_security_group_egress_rule" "to_balancer" {
  count                        = var.balancer ? 1 : 0
  security_group_id            = aws_security_group.task["cloudflared"].id
  description                  = "To the balancer"
  referenced_security_group_id = aws_security_group.balancer[0].id
  from_port                    = 80
  to_port                      = 80
  ip_protocol                  = "tcp"
}

resource "aws_security_group" "database" {
  name        = "${local.prefix}-database"
  description = "PostgreSQL"
  vpc_id      = aws_vpc.this.id
}

locals {
  # The core reaches the proxy, where there is one; what changes the database itself passes it by.
  tasks_with_proxy    = var.database_proxy ? toset(["core"]) : toset([])
  tasks_with_database = setsubtract(["core", "migrate", "operator", "roles"], local.tasks_with_proxy)

  # Who opens connections to PostgreSQL, by name.
  before_database = merge(
    { for task in local.tasks_with_database : task => aws_security_group.task[task].id },
    { for proxy in aws_security_group.proxy[*].id : "proxy" => proxy },
  )
}

resource "aws_security_group" "proxy" {
  count       = var.database_proxy ? 1 : 0
  name        = "${local.prefix}-proxy"
  description = "RDS Proxy"
  vpc_id      = aws_vpc.this.id
}

resource "aws_vpc_security_group_ingress_rule" "proxy" {
  for_each                     = local.tasks_with_proxy
  security_group_id            = aws_security_group.proxy[0].id
  description                  = "From ${each.key}"
  referenced_security_group_id = aws_security_group.task[each.key].id
  from_port                    = 5432
  to_port                      = 5432
  ip_protocol                  = "tcp"
}

resource "aws_vpc_security_group_egress_rule" "to_proxy" {
  for_each                     = local.tasks_with_proxy
  security_group_id            = aws_security_group.task[each.key].id
  description                  = "To RDS Proxy"
  referenced_security_group_id = aws_security_group.proxy[0].id
  from_port                    = 5432
  to_port                      = 5432
  ip_protocol                  = "tcp"
}

resource "aws_vpc_security_group_ingress_rule" "database" {
  for_each                     = toset(concat(tolist(local.tasks_with_database), var.database_proxy ? ["proxy"] : []))
  security_group_id            = aws_security_group.database.id
  description                  = "From ${each.key}"
  referenced_security_group_id = local.before_database[each.key]
  from_port                    = 5432
  to_port                      = 5432
  ip_protocol                  = "tcp"
}

resource "aws_vpc_security_group_egress_rule" "to_database" {
  for_each                     = toset(concat(tolist(local.tasks_with_database), var.database_proxy ? ["proxy"] : []))
  security_group_id            = local.before_database[each.key]
  description                  = "To PostgreSQL"
  referenced_security_group_id = aws_security_group.database.id
  from_port                    = 5432
  to_port                      = 5432
  ip_protocol                  = "tcp"
}
