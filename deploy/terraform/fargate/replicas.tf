# The replicas and their permissions.

locals {
  tokens = var.api_token_sha256 == null ? "" : "[[api.tokens]]\nname = \"stack\"\nsha256 = \"${var.api_token_sha256}\""
  logs = {
    logDriver = "awslogs"
    options = {
      awslogs-group         = aws_cloudwatch_log_group.this.name
      awslogs-region        = local.region
      awslogs-stream-prefix = "purgefront"
    }
  }
  # Scrapes the admin listener, which it reaches on the task's loopback address, too.
  agent = {
    name  = "prometheus"
    image = var.prometheus_image
    # Not on 9090, which is purgefront's.
    command = [
      "--agent",
      "--config.file=/etc/purgefront/prometheus.yml",
      "--storage.agent.path=/prometheus",
      "--web.listen-address=127.0.0.1:9091",
    ]
    readonlyRootFilesystem = true
    essential              = false
    dependsOn              = [{ containerName = "files", condition = "SUCCESS" }]
    mountPoints = [
      { sourceVolume = "files", containerPath = "/etc/purgefront", readOnly = true },
      { sourceVolume = "metrics", containerPath = "/prometheus", readOnly = false },
    ]
    logConfiguration = local.logs
  }
  tasks_assume = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

# Of purgefront.
resource "aws_iam_role" "this" {
  name_prefix        = var.name
  assume_role_policy = local.tasks_assume
}

resource "aws_iam_role_policy" "service" {
  name = "service"
  role = aws_iam_role.this.id
  policy = replace(
    replace(
      file("${path.module}/../../iam/service.json"),
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
      for statement in jsondecode(file("${path.module}/../../iam/merging.json")).Statement :
      merge(statement, { Resource = [for name in var.listed_bucket_names : "arn:${local.partition}:s3:::${name}"] })
    ]
  })
}

# ECS Exec, by which operators reach the admin listener.
resource "aws_iam_role_policy" "tunnel" {
  #checkov:skip=CKV_AWS_355:these actions know no resource
  #checkov:skip=CKV_AWS_290:these actions know no resource
  name = "tunnel"
  role = aws_iam_role.this.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid    = "Tunnel"
      Effect = "Allow"
      Action = [
        "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
      ]
      Resource = "*"
    }]
  })
}

resource "aws_iam_role_policy" "metrics" {
  count = var.metrics_url == "" ? 0 : 1
  name  = "metrics"
  role  = aws_iam_role.this.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid      = "WriteMetrics"
      Effect   = "Allow"
      Action   = "aps:RemoteWrite"
      Resource = "arn:${local.partition}:aps:${local.region}:${local.account}:workspace/*"
    }]
  })
}

# Of ECS, when it starts a task.
resource "aws_iam_role" "start" {
  name_prefix        = "${var.name}-start"
  assume_role_policy = local.tasks_assume
}

# Images and logs.
resource "aws_iam_role_policy_attachment" "start" {
  role       = aws_iam_role.start.id
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}

resource "aws_iam_role_policy" "start" {
  name = "start"
  role = aws_iam_role.start.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid      = "Password"
      Effect   = "Allow"
      Action   = "secretsmanager:GetSecretValue"
      Resource = aws_secretsmanager_secret.password.arn
    }]
  })
}

resource "aws_ecs_cluster" "this" {
  #checkov:skip=CKV_AWS_65:the alarms and purgefront's own metrics see what matters
  name = var.name
}

resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_158:encrypted with the service's key
  #checkov:skip=CKV_AWS_338:nobody reads older ones
  name_prefix       = "${var.name}-"
  retention_in_days = 30
}

resource "aws_ecs_task_definition" "this" {
  #checkov:skip=CKV_AWS_336:purgefront's is read-only; what ECS Exec needs, and the helper's volume, are not
  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 512
  memory                   = 1024
  execution_role_arn       = aws_iam_role.start.arn
  task_role_arn            = aws_iam_role.this.arn
  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.architecture
  }
  volume {
    name = "files"
  }
  volume {
    name = "metrics"
  }
  container_definitions = jsonencode(concat([
    {
      name                   = "purgefront"
      image                  = var.image
      command                = ["serve", "--config", "/etc/purgefront/purgefront.toml"]
      user                   = "65532:65532"
      readonlyRootFilesystem = true
      linuxParameters        = { capabilities = { drop = ["ALL"] } }
      essential              = true
      dependsOn              = [{ containerName = "files", condition = "SUCCESS" }]
      # The admin listener, 9090, stays on the task's loopback address.
      portMappings = [{ containerPort = 8080, protocol = "tcp" }]
      environment = [
        { name = "AWS_REGION", value = local.region },
        { name = "PURGEFRONT_SNS__TOPICS", value = jsonencode([local.topic_arn]) },
        {
          name  = "PURGEFRONT_STORE__URL"
          value = "postgres://purgefront@${aws_db_instance.this.address}:5432/purgefront?sslmode=verify-full&sslrootcert=/etc/purgefront/database-ca.pem"
        },
      ]
      # With its version, so that another password replaces the replicas.
      secrets = [{
        name      = "PGPASSWORD"
        valueFrom = "${aws_secretsmanager_secret.password.arn}:password::${aws_secretsmanager_secret_version.password.version_id}"
      }]
      healthCheck = {
        command  = ["CMD", "/usr/local/bin/purgefront", "healthcheck", "--url", "http://127.0.0.1:8080"]
        interval = 30
        timeout  = 5
        retries  = 3
        # A new version may migrate the database first.
        startPeriod = 300
      }
      # Longer than server.drain and server.grace together, 25 s.
      stopTimeout      = 35
      mountPoints      = [{ sourceVolume = "files", containerPath = "/etc/purgefront", readOnly = true }]
      logConfiguration = local.logs
    },
    # Writes what purgefront reads as files, and ends. purgefront's image has no shell, and not RDS's authorities.
    # In what Prometheus reads, each task is an instance: the address is the same in all of them.
    {
      name       = "files"
      image      = var.helper_image
      entryPoint = ["sh", "-euc"]
      command = [<<-EOT
        printf '%s\n' "$DATABASE_CA" >database-ca.pem
        printf '%s\n' "$${SETTINGS:-}" "$${TOKENS:-}" >purgefront.toml
        if [ -n "$${METRICS_URL:-}" ]; then
        cat >prometheus.yml <<END
        global: {scrape_interval: 30s}
        scrape_configs:
          - job_name: purgefront
            static_configs:
              - {targets: ["127.0.0.1:9090"], labels: {instance: "$${ECS_CONTAINER_METADATA_URI_V4##*/}"}}
        remote_write:
          - {url: "$METRICS_URL", sigv4: {region: "$METRICS_REGION"}}
        END
        fi
      EOT
      ]
      workingDirectory       = "/etc/purgefront"
      readonlyRootFilesystem = true
      essential              = false
      environment = [
        { name = "DATABASE_CA", value = var.database_ca },
        { name = "SETTINGS", value = var.settings },
        { name = "TOKENS", value = local.tokens },
        { name = "METRICS_URL", value = var.metrics_url },
        { name = "METRICS_REGION", value = local.region },
      ]
      mountPoints      = [{ sourceVolume = "files", containerPath = "/etc/purgefront", readOnly = false }]
      logConfiguration = local.logs
    },
    # Does nothing but be there for ECS Exec, whose agent needs a root file system that can be written to. All
    # containers of a task share its loopback address.
    {
      name    = "operator"
      image   = var.helper_image
      command = ["tail", "-f", "/dev/null"]
      # As the first process, tail would not heed SIGTERM.
      linuxParameters        = { initProcessEnabled = true }
      readonlyRootFilesystem = false
      essential              = false
      logConfiguration       = local.logs
    },
  ], var.metrics_url == "" ? [] : [local.agent]))
}

resource "aws_ecs_service" "this" {
  #checkov:skip=CKV_AWS_333:the new VPC has no NAT gateway, and only the load balancer gets through the security group
  name                          = var.name
  cluster                       = aws_ecs_cluster.this.id
  task_definition               = aws_ecs_task_definition.this.arn
  launch_type                   = "FARGATE"
  desired_count                 = var.replicas
  enable_execute_command        = true
  availability_zone_rebalancing = "ENABLED"
  # New tasks first: both versions run on one database for some minutes, which each version's migrations allow.
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }
  # As long as a migration may take.
  health_check_grace_period_seconds = 300
  # So that the subscription comes after it.
  wait_for_steady_state = true
  network_configuration {
    # The new VPC has no NAT gateway. Only the load balancer gets through the security group.
    assign_public_ip = local.new_vpc
    subnets          = local.task_subnet_ids
    security_groups  = [aws_security_group.tasks.id]
  }
  load_balancer {
    container_name   = "purgefront"
    container_port   = 8080
    target_group_arn = aws_lb_target_group.this.arn
  }
  depends_on = [
    aws_iam_role_policy.service,
    aws_iam_role_policy.start,
    aws_iam_role_policy_attachment.start,
    aws_lb_listener.this,
    aws_route.internet,
    aws_route_table_association.public,
    aws_vpc_security_group_egress_rule.aws,
    aws_vpc_security_group_egress_rule.database,
    aws_vpc_security_group_ingress_rule.database,
    aws_vpc_security_group_ingress_rule.tasks,
  ]
}

resource "aws_security_group" "tasks" {
  name_prefix = "${var.name}-tasks"
  description = "purgefront, reached by the load balancer only"
  vpc_id      = local.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "tasks" {
  security_group_id            = aws_security_group.tasks.id
  description                  = "the load balancer"
  ip_protocol                  = "tcp"
  from_port                    = 8080
  to_port                      = 8080
  referenced_security_group_id = aws_security_group.balancer.id
}

resource "aws_vpc_security_group_egress_rule" "aws" {
  security_group_id = aws_security_group.tasks.id
  description       = "AWS"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_vpc_security_group_egress_rule" "database" {
  security_group_id            = aws_security_group.tasks.id
  description                  = "the database"
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
  referenced_security_group_id = aws_security_group.database.id
}
