# The database and its password.

# Not the secret that RDS manages: it changes each week, and a task reads it at its start only.
ephemeral "random_password" "this" {
  length  = 40
  special = false
}

resource "aws_secretsmanager_secret" "password" {
  #checkov:skip=CKV_AWS_149:encrypted with the account's default key
  #checkov:skip=CKV2_AWS_57:password_version changes it
  name_prefix = "${var.name}-database-"
  description = "the database of ${var.name}"
}

resource "aws_secretsmanager_secret_version" "password" {
  secret_id                = aws_secretsmanager_secret.password.id
  secret_string_wo         = jsonencode({ username = "purgefront", password = ephemeral.random_password.this.result })
  secret_string_wo_version = var.password_version
}

# What is stored, not what is drawn anew at each run.
ephemeral "aws_secretsmanager_secret_version" "password" {
  secret_id  = aws_secretsmanager_secret.password.id
  version_id = aws_secretsmanager_secret_version.password.version_id
}

resource "aws_db_instance" "this" {
  #checkov:skip=CKV_AWS_118:the alarms and purgefront's own metrics see what matters
  #checkov:skip=CKV_AWS_161:purgefront has a password
  #checkov:skip=CKV_AWS_293:a deleted one leaves a snapshot
  #checkov:skip=CKV_AWS_353:the alarms and purgefront's own metrics see what matters
  #checkov:skip=CKV_AWS_354:the alarms and purgefront's own metrics see what matters
  identifier_prefix               = "${var.name}-"
  engine                          = "postgres"
  engine_version                  = var.database_version
  allow_major_version_upgrade     = true
  auto_minor_version_upgrade      = true
  instance_class                  = var.database_class
  db_name                         = "purgefront"
  username                        = "purgefront"
  password_wo                     = jsondecode(ephemeral.aws_secretsmanager_secret_version.password.secret_string).password
  password_wo_version             = var.password_version
  storage_type                    = "gp3"
  allocated_storage               = var.database_storage
  max_allocated_storage           = var.database_max_storage
  storage_encrypted               = true
  multi_az                        = var.multi_az
  publicly_accessible             = false
  db_subnet_group_name            = aws_db_subnet_group.this.name
  vpc_security_group_ids          = [aws_security_group.database.id]
  parameter_group_name            = aws_db_parameter_group.this.name
  backup_retention_period         = 14
  copy_tags_to_snapshot           = true
  enabled_cloudwatch_logs_exports = ["postgresql"]
  # As CloudFormation does: an upgrade does not wait for the maintenance window.
  apply_immediately         = true
  skip_final_snapshot       = false
  final_snapshot_identifier = "${var.name}-${random_id.snapshot.hex}"
}

# The name of a snapshot is taken for good.
resource "random_id" "snapshot" {
  byte_length = 4
}

resource "aws_db_parameter_group" "this" {
  name_prefix = "${var.name}-"
  description = "${var.name}: TLS only"
  family      = "postgres${var.database_version}"
  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }
  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_db_subnet_group" "this" {
  name_prefix = "${var.name}-"
  description = "${var.name}: without a way to the internet, if the VPC is new"
  subnet_ids  = local.database_subnet_ids
}

# Without a rule for what leaves it: nothing does.
resource "aws_security_group" "database" {
  name_prefix = "${var.name}-database"
  description = "The database of purgefront, reached by purgefront only"
  vpc_id      = local.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "database" {
  security_group_id            = aws_security_group.database.id
  description                  = "purgefront"
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
  referenced_security_group_id = aws_security_group.tasks.id
}
