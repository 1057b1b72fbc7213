output "endpoint" {
  description = "The endpoint of the subscription."
  value       = aws_sns_topic_subscription.this.endpoint
}

output "topic_arn" {
  description = "The topic for the buckets' notifications."
  value       = local.topic_arn
}

output "dead_letter_queue_url" {
  description = "Where SNS puts what it cannot deliver."
  value       = aws_sqs_queue.dead_letters.url
}

output "group_name" {
  description = "The instance's group, whose processes are suspended while purgefront is stopped on purpose."
  value       = aws_autoscaling_group.this.name
}

output "load_balancer_dns_name" {
  description = "Where domain_name has to point to, if zone is not given."
  value       = local.new_balancer ? aws_lb.this[0].dns_name : null
}

output "connect" {
  description = "Run this for each bucket."
  value       = "purgefront connect BUCKET --topic ${local.topic_arn}"
}
