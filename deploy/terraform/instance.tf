# The instance, its permissions and its store.

resource "aws_iam_role" "this" {
  name_prefix = var.name
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ec2.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "service" {
  name = "service"
  role = aws_iam_role.this.id
  policy = replace(
    replace(
      file("${path.module}/../iam/service.json"),
      "arn:aws:sns:us-east-1:123456789012:site-changes", local.topic_arn
    ),
    "arn:aws:cloudfront:", "arn:${local.partition}:cloudfront:"
  )
}

resource "aws_iam_role_policy" "merging" {
  count = length(var.listed_bucket_names) > 0 ? 1 : 0
  name  = "merging"
  role  = aws_iam_role.this.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      for statement in jsondecode(file("${path.module}/../iam/merging.json")).Statement :
      merge(statement, { Resource = [for name in var.listed_bucket_names : "arn:${local.partition}:s3:::${name}"] })
    ]
  })
}

# For `purgefront redrive` and `purgefront resync` on the instance.
resource "aws_iam_role_policy" "recovery" {
  name = "recovery"
  role = aws_iam_role.this.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [merge(local.recovery[0], { Resource = aws_sqs_queue.dead_letters.arn })],
      [
        for statement in slice(local.recovery, 1, length(var.bucket_names) > 0 ? 2 : 1) :
        merge(statement, { Resource = [for name in var.bucket_names : "arn:${local.partition}:s3:::${name}"] })
      ],
    )
  })
}

locals {
  recovery = jsondecode(file("${path.module}/../iam/recovery.json")).Statement
}

# What the first boot does.
resource "aws_iam_role_policy" "first_boot" {
  name = "first-boot"
  role = aws_iam_role.this.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Sid = "FindVolume", Effect = "Allow", Action = "ec2:DescribeVolumes", Resource = "*" },
      { Sid = "AttachVolume", Effect = "Allow", Action = "ec2:AttachVolume", Resource = aws_ebs_volume.store.arn },
      {
        Sid       = "AttachToOwnInstances"
        Effect    = "Allow"
        Action    = "ec2:AttachVolume"
        Resource  = "arn:${local.partition}:ec2:${local.region}:${local.account}:instance/*"
        Condition = { StringEquals = { "aws:ResourceTag/purgefront" = var.name } }
      },
      {
        Sid      = "FetchPackage"
        Effect   = "Allow"
        Action   = "s3:GetObject"
        Resource = "arn:${local.partition}:s3:::${var.package_object}"
      },
    ]
  })
}

# A shell without SSH.
resource "aws_iam_role_policy_attachment" "ssm" {
  role       = aws_iam_role.this.id
  policy_arn = "arn:${local.partition}:iam::aws:policy/AmazonSSMManagedInstanceCore"
}

resource "aws_iam_instance_profile" "this" {
  name_prefix = var.name
  role        = aws_iam_role.this.id
}

resource "aws_ebs_volume" "store" {
  #checkov:skip=CKV_AWS_189:encrypted with the account's default key
  availability_zone = local.availability_zone
  size              = var.volume_size
  snapshot_id       = var.snapshot_id
  type              = "gp3"
  encrypted         = true
  final_snapshot    = true
  tags              = { Name = "${var.name} store", purgefront-store = var.name }
  lifecycle {
    # The old one can be deleted only when its instance has been replaced.
    create_before_destroy = true
  }
  timeouts {
    delete = "30m"
  }
}

# Backups: a snapshot each day. SQLite's files on one volume are in it as after a loss of power.
resource "aws_dlm_lifecycle_policy" "store" {
  description        = "${var.name} store"
  state              = "ENABLED"
  execution_role_arn = aws_iam_role.snapshots.arn
  policy_details {
    resource_types = ["VOLUME"]
    target_tags    = { purgefront-store = var.name }
    schedule {
      name      = "daily"
      copy_tags = true
      create_rule {
        interval      = 24
        interval_unit = "HOURS"
        times         = ["03:00"]
      }
      retain_rule {
        count = 14
      }
    }
  }
}

resource "aws_iam_role" "snapshots" {
  name_prefix = "${var.name}-snapshots"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "dlm.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy_attachment" "snapshots" {
  role       = aws_iam_role.snapshots.id
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AWSDataLifecycleManagerServiceRole"
}

data "aws_ssm_parameter" "image" {
  name = var.image_parameter
}

resource "aws_launch_template" "this" {
  name_prefix   = var.name
  image_id      = data.aws_ssm_parameter.image.insecure_value
  instance_type = var.instance_type

  iam_instance_profile {
    arn = aws_iam_instance_profile.this.arn
  }
  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
  network_interfaces {
    device_index    = 0
    security_groups = [aws_security_group.instance.id]
    # The new VPC has no NAT gateway. Only the load balancer gets through the security group.
    associate_public_ip_address = var.network == null ? true : null
  }
  block_device_mappings {
    device_name = "/dev/sda1"
    ebs {
      volume_type = "gp3"
      volume_size = 16
      encrypted   = true
    }
  }
  tag_specifications {
    resource_type = "instance"
    tags          = { Name = var.name, purgefront = var.name }
  }
  user_data = base64encode(templatefile("${path.module}/../ec2/user-data.sh", {
    Region        = local.region
    Topic         = local.topic_arn
    Volume        = aws_ebs_volume.store.id
    PackageObject = var.package_object
    PackageSha256 = var.package_sha256
    Tokens        = var.api_token_sha256 == null ? "" : "[[api.tokens]]\nname = \"stack\"\nsha256 = \"${var.api_token_sha256}\""
    # Nobody waits for it but the load balancer.
    Signal = "echo"
  }))
}

# A group of one: an instance that fails is replaced, and the new one takes the volume. Never two: an
# SQLite store has one service.
resource "aws_autoscaling_group" "this" {
  name_prefix               = var.name
  min_size                  = 1
  max_size                  = 1
  vpc_zone_identifier       = [local.instance_subnet_id]
  target_group_arns         = [aws_lb_target_group.this.arn]
  health_check_type         = "ELB"
  health_check_grace_period = 900
  # Until the target is healthy, so that the subscription comes after it.
  min_elb_capacity          = 1
  wait_for_capacity_timeout = "15m"

  launch_template {
    id      = aws_launch_template.this.id
    version = aws_launch_template.this.latest_version
  }
  instance_refresh {
    strategy = "Rolling"
    preferences {
      min_healthy_percentage = 0
      max_healthy_percentage = 100
    }
  }
  tag {
    key                 = "Name"
    value               = var.name
    propagate_at_launch = false
  }
  depends_on = [
    aws_iam_role_policy.service,
    aws_iam_role_policy.first_boot,
    aws_lb_listener.this,
    aws_lb_listener_rule.this,
    aws_route.internet,
    aws_route_table_association.public,
  ]
}

resource "aws_security_group" "instance" {
  name_prefix = "${var.name}-instance"
  description = "purgefront, reached by the load balancer only"
  vpc_id      = local.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "instance" {
  security_group_id            = aws_security_group.instance.id
  description                  = "the load balancer"
  ip_protocol                  = "tcp"
  from_port                    = 8080
  to_port                      = 8080
  referenced_security_group_id = local.balancer_security_group_id
}

resource "aws_vpc_security_group_egress_rule" "instance" {
  for_each          = { "AWS and snaps" = 443, "Packages of Ubuntu" = 80 }
  security_group_id = aws_security_group.instance.id
  description       = each.key
  ip_protocol       = "tcp"
  from_port         = each.value
  to_port           = each.value
  cidr_ipv4         = "0.0.0.0/0"
}
