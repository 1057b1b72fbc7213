variable "name" {
  description = "The name of what is created, and of the tag purgefront on the instance."
  type        = string
  default     = "purgefront"
}

variable "domain_name" {
  description = "The host name of purgefront; SNS posts to https://DOMAIN_NAME/sns."
  type        = string
}

variable "package_object" {
  description = "Where the Debian package is in S3, as bucket/key; `make deb` builds it."
  type        = string
}

variable "package_sha256" {
  description = "The package's SHA-256; `sha256sum FILE` prints it."
  type        = string
  validation {
    condition     = can(regex("^[0-9a-f]{64}$", var.package_sha256))
    error_message = "64 lowercase hexadecimal digits."
  }
}

variable "bucket_names" {
  description = "The buckets that may publish to the new topic, and that `purgefront resync` on the instance may list."
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
  description = "The Route 53 zone in which to create domain_name and, without certificate, to validate a new certificate; not with listener."
  type        = object({ id = string })
  default     = null
}

variable "certificate" {
  description = "An ACM certificate for domain_name in this region."
  type        = object({ arn = string })
  default     = null
}

variable "topic" {
  description = "A topic of this region and account to subscribe to, instead of a new one; its policy stays as it is."
  type        = object({ arn = string })
  default     = null
}

variable "network" {
  description = "A VPC to use instead of a new one: public subnets in two zones for the new load balancer, and the instance's subnet, which needs a way to the internet."
  type = object({
    vpc_id             = string
    public_subnet_ids  = optional(list(string), [])
    instance_subnet_id = string
    availability_zone  = string
  })
  default = null
}

variable "listener" {
  description = "An HTTPS listener of a load balancer in network, with a certificate for domain_name, to use instead of a new one."
  type = object({
    arn               = string
    security_group_id = string
    priority          = number
  })
  default = null
}

variable "api_token_sha256" {
  description = "The SHA-256 of a token for POST /invalidate, as `purgefront token` prints it; not needed for S3's changes."
  type        = string
  default     = null
}

variable "alarm_topic_arn" {
  description = "A topic for alarms; it must not be the one that purgefront is subscribed to."
  type        = string
  default     = null
}

variable "instance_type" {
  description = "A Nitro instance type of the image's and the package's architecture."
  type        = string
  default     = "t3.small"
}

variable "image_parameter" {
  description = "The SSM parameter of an Ubuntu image; its C library must not be older than the one of the machine that built the package."
  type        = string
  default     = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"
}

variable "volume_size" {
  description = "The store's volume in GiB; not smaller than the snapshot."
  type        = number
  default     = 20
}

variable "snapshot_id" {
  description = "A snapshot of a store's volume to begin with; another value replaces the volume, also null."
  type        = string
  default     = null
}
