locals {
  topic_name   = element(split(":", local.topic_arn), 5)
  by_topic     = { TopicName = local.topic_name }
  by_target    = { TargetGroup = aws_lb_target_group.this.arn_suffix, LoadBalancer = aws_lb.this.arn_suffix }
  alarm_topics = var.alarm_topic_arn == null ? [] : [var.alarm_topic_arn]

  # The same as those of the CloudFormation template.
  alarms = {
    dead-letters = {
      description = "SNS gave up on messages; they wait in the dead-letter queue for 14 days"
      metric      = ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum"]
      dimensions  = { QueueName = aws_sqs_queue.dead_letters.name }
      when        = ["GreaterThanThreshold", 0, 300, 1, "notBreaching"]
    }
    failed-deliveries = {
      description = "SNS gave up on messages to purgefront or to another subscriber of the topic, after an hour or at once after a status 4xx"
      metric      = ["AWS/SNS", "NumberOfNotificationsFailed", "Sum"]
      dimensions  = local.by_topic
      when        = ["GreaterThanThreshold", 0, 300, 1, "notBreaching"]
    }
    lost-messages = {
      description = "SNS could not put messages into the dead-letter queue either, so they are lost"
      metric      = ["AWS/SNS", "NumberOfNotificationsFailedToRedriveToDlq", "Sum"]
      dimensions  = local.by_topic
      when        = ["GreaterThanThreshold", 0, 300, 1, "notBreaching"]
    }
    unhealthy = {
      description = "no replica of purgefront is ready; SNS repeats for an hour"
      metric      = ["AWS/ApplicationELB", "HealthyHostCount", "Minimum"]
      dimensions  = local.by_target
      when        = ["LessThanThreshold", 1, 60, 5, "breaching"]
    }
    refusing = {
      description = "purgefront answers with 503, perhaps because its database cannot be reached or is full; /readyz of the admin listener says why"
      metric      = ["AWS/ApplicationELB", "HTTPCode_Target_5XX_Count", "Sum"]
      dimensions  = local.by_target
      when        = ["GreaterThanThreshold", 0, 300, 2, "notBreaching"]
    }
    lone-replica = {
      description = "fewer than two replicas of purgefront are ready, so the next failure is an outage"
      metric      = ["AWS/ApplicationELB", "HealthyHostCount", "Maximum"]
      dimensions  = local.by_target
      when        = ["LessThanThreshold", 2, 60, 15, "breaching"]
    }
    database-storage = {
      description = "less than 2 GiB of the database are free; once nothing is, messages are answered with 503"
      metric      = ["AWS/RDS", "FreeStorageSpace", "Minimum"]
      dimensions  = { DBInstanceIdentifier = aws_db_instance.this.identifier }
      when        = ["LessThanThreshold", 2147483648, 300, 3, "missing"]
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each            = local.alarms
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = each.value.metric[0]
  metric_name         = each.value.metric[1]
  statistic           = each.value.metric[2]
  dimensions          = each.value.dimensions
  comparison_operator = each.value.when[0]
  threshold           = each.value.when[1]
  period              = each.value.when[2]
  evaluation_periods  = each.value.when[3]
  treat_missing_data  = each.value.when[4]
  alarm_actions       = local.alarm_topics
}
