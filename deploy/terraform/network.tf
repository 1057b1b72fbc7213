# The load balancer, the name and, unless one is given, the VPC.

locals {
  new_vpc                    = var.network == null
  new_balancer               = var.listener == null
  new_certificate            = local.new_balancer && var.certificate == null
  new_name                   = local.new_balancer && var.zone != null
  vpc_id                     = local.new_vpc ? aws_vpc.this[0].id : var.network.vpc_id
  public_subnet_ids          = local.new_vpc ? aws_subnet.public[*].id : var.network.public_subnet_ids
  instance_subnet_id         = local.new_vpc ? aws_subnet.public[0].id : var.network.instance_subnet_id
  availability_zone          = local.new_vpc ? aws_subnet.public[0].availability_zone : var.network.availability_zone
  balancer_security_group_id = local.new_balancer ? aws_security_group.balancer[0].id : var.listener.security_group_id
  # As CloudWatch names a load balancer: the part of the listener's ARN after `listener/`, without its end.
  balancer_name = local.new_balancer ? aws_lb.this[0].arn_suffix : join("/", slice(split("/", var.listener.arn), 1, 4))
}

data "aws_availability_zones" "available" {
  #checkov:skip=CKV_AWS_394:a new zone changes nothing, see aws_subnet.public
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
  #checkov:skip=CKV2_AWS_28:purgefront verifies signatures and tokens itself
  count                      = local.new_balancer ? 1 : 0
  name                       = var.name
  load_balancer_type         = "application"
  security_groups            = [local.balancer_security_group_id]
  subnets                    = local.public_subnet_ids
  drop_invalid_header_fields = true
  depends_on                 = [aws_route.internet]
}

resource "aws_security_group" "balancer" {
  #checkov:skip=CKV2_AWS_5:the load balancer has it
  count       = local.new_balancer ? 1 : 0
  name_prefix = "${var.name}-balancer"
  description = "Load balancer of purgefront, open because SNS has no fixed addresses"
  vpc_id      = local.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "balancer" {
  count             = local.new_balancer ? 1 : 0
  security_group_id = aws_security_group.balancer[0].id
  description       = "SNS and people"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_vpc_security_group_egress_rule" "balancer" {
  count                        = local.new_balancer ? 1 : 0
  security_group_id            = aws_security_group.balancer[0].id
  description                  = "purgefront"
  ip_protocol                  = "tcp"
  from_port                    = 8080
  to_port                      = 8080
  referenced_security_group_id = aws_security_group.instance.id
}

resource "aws_lb_target_group" "this" {
  #checkov:skip=CKV_AWS_378:TLS ends at the load balancer
  name_prefix          = "purge-"
  vpc_id               = local.vpc_id
  protocol             = "HTTP"
  port                 = 8080
  deregistration_delay = 15
  health_check {
    # Not /readyz: a full disk is no reason to replace the instance.
    path              = "/healthz"
    interval          = 10
    healthy_threshold = 2
    # 100 s, so that a restart does not make the group replace the instance. For what takes longer, see
    # deploy/README.md: suspend the group's processes.
    unhealthy_threshold = 10
  }
  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_lb_listener" "this" {
  count             = local.new_balancer ? 1 : 0
  load_balancer_arn = aws_lb.this[0].arn
  protocol          = "HTTPS"
  port              = 443
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = local.new_certificate ? aws_acm_certificate_validation.this[0].certificate_arn : var.certificate.arn
  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this.arn
  }
}

resource "aws_lb_listener_rule" "this" {
  count        = local.new_balancer ? 0 : 1
  listener_arn = var.listener.arn
  priority     = var.listener.priority
  condition {
    host_header {
      values = [var.domain_name]
    }
  }
  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this.arn
  }
  lifecycle {
    precondition {
      condition     = var.zone == null
      error_message = "With listener, domain_name is not created, so zone must be null."
    }
  }
}

resource "aws_acm_certificate" "this" {
  count             = local.new_certificate ? 1 : 0
  domain_name       = var.domain_name
  validation_method = "DNS"
  lifecycle {
    create_before_destroy = true
    precondition {
      condition     = var.zone != null
      error_message = "zone, certificate or listener is needed for HTTPS."
    }
  }
}

resource "aws_route53_record" "validation" {
  count   = local.new_certificate ? 1 : 0
  zone_id = var.zone.id
  name    = one(aws_acm_certificate.this[0].domain_validation_options).resource_record_name
  type    = one(aws_acm_certificate.this[0].domain_validation_options).resource_record_type
  records = [one(aws_acm_certificate.this[0].domain_validation_options).resource_record_value]
  ttl     = 300
}

resource "aws_acm_certificate_validation" "this" {
  count                   = local.new_certificate ? 1 : 0
  certificate_arn         = aws_acm_certificate.this[0].arn
  validation_record_fqdns = [aws_route53_record.validation[0].fqdn]
}

resource "aws_route53_record" "this" {
  count   = local.new_name ? 1 : 0
  zone_id = var.zone.id
  name    = var.domain_name
  type    = "A"
  alias {
    name                   = aws_lb.this[0].dns_name
    zone_id                = aws_lb.this[0].zone_id
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

resource "aws_subnet" "public" {
  count             = local.new_vpc ? 2 : 0
  vpc_id            = aws_vpc.this[0].id
  cidr_block        = cidrsubnet(aws_vpc.this[0].cidr_block, 1, count.index)
  availability_zone = data.aws_availability_zones.available.names[count.index]
  lifecycle {
    # The store stays in its zone.
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
