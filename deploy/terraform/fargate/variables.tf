variable "name" {
  description = "The name of what is created."
  type        = string
  default     = "purgefront"
}

variable "domain_name" {
  description = "The host name of purgefront; SNS posts to https://DOMAIN_NAME/sns."
  type        = string
}

variable "certificate_arn" {
  description = "An ACM certificate for domain_name in this region."
  type        = string
}

variable "image" {
  description = "The image that the Dockerfile makes, in a registry that the tasks reach, such as ECR."
  type        = string
}

variable "database_ca" {
  description = "The certificate authorities of RDS in this region, as PEM: https://truststore.pki.rds.amazonaws.com/REGION/REGION-bundle.pem."
  type        = string
  validation {
    condition     = strcontains(var.database_ca, "-----BEGIN CERTIFICATE-----")
    error_message = "Certificates as PEM, not the name of their file."
  }
}

variable "bucket_names" {
  description = "The buckets that may publish to the new topic."
  type        = list(string)
  default     = []
}

variable "listed_bucket_names" {
  description = "The origin buckets that purgefront may list, to merge paths into wildcards by counting which unchanged objects they would evict; without it, nothing is merged there."
  type        = list(string)
  default     = []
}

# What may be made in the same configuration is an object: that it is there is known before it is made.
variable "zone" {
  description = "The Route 53 zone in which to create domain_name."
  type        = object({ id = string })
  default     = null
}

variable "topic" {
  description = "A topic of this region and account to subscribe to, instead of a new one; its policy stays as it is."
  type        = object({ arn = string })
  default     = null
}

variable "network" {
  description = "A VPC to use instead of a new one, with subnets in at least two zones: public ones for the load balancer, those with a way to the internet by NAT for the replicas, and the database's."
  type = object({
    vpc_id              = string
    public_subnet_ids   = list(string)
    task_subnet_ids     = list(string)
    database_subnet_ids = list(string)
  })
  default = null
}

variable "replicas" {
  description = "How many tasks take in what SNS sends; one of them leads."
  type        = number
  default     = 2
  validation {
    condition     = var.replicas >= 2
    error_message = "One replica is an outage at each failure."
  }
}

variable "architecture" {
  description = "What the image was built for: X86_64 or ARM64."
  type        = string
  default     = "X86_64"
}

variable "settings" {
  description = "Further settings, as purgefront.toml has them. Whoever may read task definitions reads them too."
  type        = string
  default     = ""
}

variable "api_token_sha256" {
  description = "The SHA-256 of a token for POST /invalidate, as `purgefront token` prints it; not needed for S3's changes."
  type        = string
  default     = null
}

variable "helper_image" {
  description = "An image with a shell, beside purgefront's own, which has none."
  type        = string
  default     = "public.ecr.aws/docker/library/busybox:1.37"
}

variable "database_class" {
  description = "The database's instance class."
  type        = string
  default     = "db.t4g.small"
}

variable "database_version" {
  description = "The major version of PostgreSQL, 15 or later; a higher one upgrades the database, which is away for some minutes."
  type        = string
  default     = "17"
}

variable "database_storage" {
  description = "The database's storage in GiB."
  type        = number
  default     = 20
}

variable "database_max_storage" {
  description = "To how many GiB it may grow by itself; at least a tenth more than database_storage."
  type        = number
  default     = 100
}

variable "multi_az" {
  description = "Whether a standby in another zone takes over when the database's zone or its machine fails."
  type        = bool
  default     = true
}

variable "password_version" {
  description = "A higher number gives the database another password, and replaces the replicas."
  type        = number
  default     = 1
}

variable "alarm_topic_arn" {
  description = "A topic for alarms; it must not be the one that purgefront is subscribed to."
  type        = string
  default     = null
}

variable "metrics_url" {
  description = "Where an agent beside each replica writes its metrics, the remote write URL of a workspace of Amazon Managed Service for Prometheus in this region."
  type        = string
  default     = ""
}

variable "prometheus_image" {
  description = "The image of that agent."
  type        = string
  default     = "quay.io/prometheus/prometheus:v3.5.0"
}
