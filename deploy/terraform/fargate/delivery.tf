# From S3 to purgefront. No bucket's notifications are set here: aws_s3_bucket_notification replaces all
# of a bucket's entries. The output connect is the command that adds ours.

locals {
  partition = data.aws_partition.current.partition
  account   = data.aws_caller_identity.current.account_id
  region    = data.aws_region.current.name
  topic_arn = var.topic == null ? aws_sns_topic.this[0].arn : var.topic.arn
}

data "aws_partition" "current" {}
data "aws_caller_identity" "current" {}
data "aws_region" "current" {}

resource "aws_sns_topic" "this" {
  #checkov:skip=CKV_AWS_26:it holds object names; S3 would need a customer managed key
  count             = var.topic == null ? 1 : 0
  name              = var.name
  signature_version = 2
}

resource "aws_sns_topic_policy" "this" {
  count = var.topic == null && length(var.bucket_names) > 0 ? 1 : 0
  arn   = local.topic_arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "BucketsPublish"
      Effect    = "Allow"
      Principal = { Service = "s3.amazonaws.com" }
      Action    = "SNS:Publish"
      Resource  = local.topic_arn
      Condition = {
        ArnLike      = { "aws:SourceArn" = [for name in var.bucket_names : "arn:${local.partition}:s3:::${name}"] }
        StringEquals = { "aws:SourceAccount" = local.account }
      }
    }]
  })
}

resource "aws_sqs_queue" "dead_letters" {
  #checkov:skip=CKV_AWS_27:SSE-SQS encrypts it; checkov asks for KMS
  name                      = "${var.name}-dead-letters"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
}

resource "aws_sqs_queue_policy" "dead_letters" {
  queue_url = aws_sqs_queue.dead_letters.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TopicFillsIt"
      Effect    = "Allow"
      Principal = { Service = "sns.amazonaws.com" }
      Action    = "SQS:SendMessage"
      Resource  = aws_sqs_queue.dead_letters.arn
      Condition = { ArnEquals = { "aws:SourceArn" = local.topic_arn } }
    }]
  })
}

# The same as `purgefront connect` sets. SNS asks for the confirmation once, when purgefront has to be
# there: without zone, create the load balancer first, with `-target=module.purgefront.aws_lb.this` if the
# module's name is purgefront, and the name, which points to it.
resource "aws_sns_topic_subscription" "this" {
  topic_arn              = local.topic_arn
  protocol               = "https"
  endpoint               = "https://${var.domain_name}/sns"
  endpoint_auto_confirms = true
  # How long Terraform waits for purgefront to confirm.
  confirmation_timeout_in_minutes = 15
  delivery_policy                 = file("${path.module}/../delivery-policy.json")
  redrive_policy                  = jsonencode({ deadLetterTargetArn = aws_sqs_queue.dead_letters.arn })
  depends_on = [
    aws_sqs_queue_policy.dead_letters,
    aws_ecs_service.this,
    aws_route53_record.this,
  ]
}
