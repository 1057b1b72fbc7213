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

output "cluster_name" {
  description = "The cluster that the replicas are in."
  value       = aws_ecs_cluster.this.name
}

output "service_name" {
  description = "The service that keeps the replicas running."
  value       = aws_ecs_service.this.name
}

output "database_identifier" {
  description = "The database's identifier."
  value       = aws_db_instance.this.identifier
}

output "password_arn" {
  description = "The secret with the database's password."
  value       = aws_secretsmanager_secret.password.arn
}

output "load_balancer_dns_name" {
  description = "Where domain_name has to point to, if zone is not given."
  value       = aws_lb.this.dns_name
}

output "connect" {
  description = "Run this for each bucket."
  value       = "purgefront connect BUCKET --topic ${local.topic_arn}"
}
