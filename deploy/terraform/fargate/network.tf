# The load balancer, the name and, unless one is given, the VPC.

locals {
  new_vpc             = var.network == null
  vpc_id              = local.new_vpc ? aws_vpc.this[0].id : var.network.vpc_id
  public_subnet_ids   = local.new_vpc ? aws_subnet.public[*].id : var.network.public_subnet_ids
  task_subnet_ids     = local.new_vpc ? aws_subnet.public[*].id : var.network.task_subnet_ids
  database_subnet_ids = local.new_vpc ? aws_subnet.database[*].id : var.network.database_subnet_ids
}

data "aws_availability_zones" "available" {
  #checkov:skip=CKV_AWS_394:a new zone changes nothing, see aws_subnet
  state = "available"
  # No Local Zones.
  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

resource "aws_lb" "this" {
  #checkov:skip=CKV_AWS_91:access logs need a bucket of yours
  #checkov:skip=CKV_AWS_150:it can be made again
  #checkov:skip=CKV2_AWS_20:SNS posts to HTTPS only
  #checkov:skip=CKV2_AWS_28:purgefront verifies signatures and tokens itself
  name                       = var.name
  load_balancer_type         = "application"
  security_groups            = [aws_security_group.balancer.id]
  subnets                    = local.public_subnet_ids
  drop_invalid_header_fields = true
  depends_on                 = [aws_route.internet]
}

resource "aws_security_group" "balancer" {
  name_prefix = "${var.name}-balancer"
  description = "Load balancer of purgefront, open because SNS has no fixed addresses"
  vpc_id      = local.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "balancer" {
  security_group_id = aws_security_group.balancer.id
  description       = "SNS and people"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_vpc_security_group_egress_rule" "balancer" {
  security_group_id            = aws_security_group.balancer.id
  description                  = "purgefront"
  ip_protocol                  = "tcp"
  from_port                    = 8080
  to_port                      = 8080
  referenced_security_group_id = aws_security_group.tasks.id
}

resource "aws_lb_target_group" "this" {
  #checkov:skip=CKV_AWS_378:TLS ends at the load balancer
  name_prefix          = "purge-"
  vpc_id               = local.vpc_id
  target_type          = "ip"
  protocol             = "HTTP"
  port                 = 8080
  deregistration_delay = 15
  health_check {
    # /readyz, so that an update goes on only when the new tasks have reached the database.
    path              = "/readyz"
    interval          = 20
    healthy_threshold = 2
    # 200 s: ECS replaces a task whose target is unhealthy, which does not help while the database fails over.
    unhealthy_threshold = 10
  }
  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_lb_listener" "this" {
  load_balancer_arn = aws_lb.this.arn
  protocol          = "HTTPS"
  port              = 443
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn
  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this.arn
  }
}

resource "aws_route53_record" "this" {
  count   = var.zone == null ? 0 : 1
  zone_id = var.zone.id
  name    = var.domain_name
  type    = "A"
  alias {
    name                   = aws_lb.this.dns_name
    zone_id                = aws_lb.this.zone_id
    evaluate_target_health = false
  }
}

resource "aws_vpc" "this" {
  #checkov:skip=CKV2_AWS_11:flow logs need a place of yours
  count                = local.new_vpc ? 1 : 0
  cidr_block           = "10.86.0.0/24"
  enable_dns_hostnames = true
  tags                 = { Name = var.name }
}

# What has no security group of its own gets through to nothing.
resource "aws_default_security_group" "this" {
  count  = local.new_vpc ? 1 : 0
  vpc_id = aws_vpc.this[0].id
}

# For the load balancer and the replicas.
resource "aws_subnet" "public" {
  count             = local.new_vpc ? 2 : 0
  vpc_id            = aws_vpc.this[0].id
  cidr_block        = cidrsubnet(aws_vpc.this[0].cidr_block, 2, count.index)
  availability_zone = data.aws_availability_zones.available.names[count.index]
  lifecycle {
    ignore_changes = [availability_zone]
  }
}

resource "aws_subnet" "database" {
  count             = local.new_vpc ? 2 : 0
  vpc_id            = aws_vpc.this[0].id
  cidr_block        = cidrsubnet(aws_vpc.this[0].cidr_block, 2, 2 + count.index)
  availability_zone = data.aws_availability_zones.available.names[count.index]
  lifecycle {
    ignore_changes = [availability_zone]
  }
}

resource "aws_internet_gateway" "this" {
  count  = local.new_vpc ? 1 : 0
  vpc_id = aws_vpc.this[0].id
}

resource "aws_route_table" "public" {
  count  = local.new_vpc ? 1 : 0
  vpc_id = aws_vpc.this[0].id
}

resource "aws_route" "internet" {
  count                  = local.new_vpc ? 1 : 0
  route_table_id         = aws_route_table.public[0].id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this[0].id
}

resource "aws_route_table_association" "public" {
  count          = local.new_vpc ? 2 : 0
  subnet_id      = aws_subnet.public[count.index].id
  route_table_id = aws_route_table.public[0].id
}
