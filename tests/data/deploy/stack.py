"""Creates the stack of deploy/cloudformation in moto, and prints what came of it.

What moto's CloudFormation cannot create, its APIs do, from the properties that it has resolved:
boto3 refuses what they do not have. argv: the template, and parameters as JSON.
"""
import ast, base64, json, sys, warnings

import boto3, yaml
from moto import mock_aws
from moto.cloudformation.models import cloudformation_backends
from moto.cloudformation.parsing import clean_json
from moto.cloudformation.utils import yaml_tag_constructor
from moto.ec2.models.subnets import Subnet
from moto.elbv2.models import FakeLoadBalancer, FakeTargetGroup

warnings.simplefilter("ignore")
# The attributes that moto's do not have for templates; of the load balancer's, the end of the ARN.
Subnet.get_cfn_attribute = lambda subnet, _: subnet.availability_zone
FakeTargetGroup.get_cfn_attribute = lambda group, _: group.arn.split(":")[-1]
others = FakeLoadBalancer.get_cfn_attribute
FakeLoadBalancer.get_cfn_attribute = lambda balancer, name: (
    balancer.arn.split("loadbalancer/")[-1] if name == "LoadBalancerFullName" else others(balancer, name))
FakeLoadBalancer.has_cfn_attr = classmethod(lambda *_: True)
text, parameters = open(sys.argv[1]).read(), json.loads(sys.argv[2])
yaml.add_multi_constructor("", yaml_tag_constructor, yaml.SafeLoader)
template = yaml.safe_load(text)
mock = mock_aws()
mock.start()
(acm, cloudformation, ec2, elb, iam, sns, sqs, ssm, cloudwatch, autoscaling, route53) = (
    boto3.client(name, region_name="us-east-1")
    for name in "acm cloudformation ec2 elbv2 iam sns sqs ssm cloudwatch autoscaling route53".split()
)

# moto does not know Ubuntu's parameter, and reads the default even of a parameter that is given.
image = ec2.describe_images()["Images"][0]["ImageId"]
ssm.put_parameter(Name="/image", Value=image, Type="String")
text = text.replace(template["Parameters"]["ImageId"]["Default"], "/image")


def there():
    """What an account has already, by parameter."""
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    subnets = [one["SubnetId"] for one in ec2.describe_subnets()["Subnets"]][:2]
    group = ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]
    balancer = elb.create_load_balancer(Name="theirs", Subnets=subnets)["LoadBalancers"][0]
    targets = elb.create_target_group(Name="theirs", Protocol="HTTP", Port=80, VpcId=vpc)
    targets = targets["TargetGroups"][0]["TargetGroupArn"]
    listener = elb.create_listener(LoadBalancerArn=balancer["LoadBalancerArn"], Port=80,
        Protocol="HTTP", DefaultActions=[{"Type": "forward", "TargetGroupArn": targets}])
    zone = route53.create_hosted_zone(Name="example.com", CallerReference="r")
    return {
        "TopicArn": sns.create_topic(Name="theirs")["TopicArn"],
        "VpcId": vpc, "InstanceSubnetId": subnets[0], "AvailabilityZone": "us-east-1a",
        "ListenerArn": listener["Listeners"][0]["ListenerArn"],
        "LoadBalancerSecurityGroupId": group,
        # moto's CloudFormation makes no certificates, which a listener needs.
        "CertificateArn": acm.request_certificate(DomainName="purge.example.com")["CertificateArn"],
        "HostedZoneId": zone["HostedZone"]["Id"].split("/")[-1],
    }


known = there()
parameters = {name: known[name] if value is True else value for name, value in parameters.items()}
cloudformation.create_stack(
    StackName="purge", TemplateBody=text, Capabilities=["CAPABILITY_IAM"],
    Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()])
stack = cloudformation.describe_stacks(StackName="purge")["Stacks"][0]
backend = cloudformation_backends["123456789012"]["us-east-1"]
resources = next(iter(backend.stacks.values())).resource_map
wanted = {
    name: clean_json(one["Properties"], resources) if "Properties" in one else {}
    for name, one in template["Resources"].items()
    if "Condition" not in one or resources.lazy_condition_map[one["Condition"]]
}
made = {name for name in wanted if getattr(resources[name], "physical_resource_id", None)}
missing = sorted(set(wanted) - made)

for name in missing:
    kind, one = template["Resources"][name]["Type"], wanted[name]
    if kind == "AWS::SNS::TopicPolicy":
        sns.set_topic_attributes(TopicArn=one["Topics"][0], AttributeName="Policy",
            AttributeValue=json.dumps(one["PolicyDocument"]))
    elif kind == "AWS::SQS::QueuePolicy":
        sqs.set_queue_attributes(QueueUrl=one["Queues"][0],
            Attributes={"Policy": json.dumps(one["PolicyDocument"])})
    elif kind == "AWS::SNS::Subscription":
        policies = {key: json.dumps(one[key]) for key in ("DeliveryPolicy", "RedrivePolicy")}
        sns.subscribe(TopicArn=one["TopicArn"], Protocol=one["Protocol"],
            Endpoint=one["Endpoint"], Attributes=policies)
    elif kind == "AWS::CloudWatch::Alarm":
        cloudwatch.put_metric_alarm(AlarmName=name, **one)

outputs = {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}
topic = outputs["Topic"]
subscriptions = [
    sns.get_subscription_attributes(SubscriptionArn=one["SubscriptionArn"])["Attributes"]
    for one in sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
]
role = resources["Role"].physical_resource_id
launched = ec2.describe_launch_template_versions(
    LaunchTemplateId=resources["Template"].physical_resource_id)["LaunchTemplateVersions"][0]
launched = launched["LaunchTemplateData"]
balancers = [one for one in elb.describe_load_balancers()["LoadBalancers"] if one["LoadBalancerName"] != "theirs"]
print(json.dumps({
    "status": stack["StackStatus"],
    "outputs": outputs,
    "missing": [f"{template['Resources'][name]['Type']} {name}" for name in missing],
    "wanted": wanted,
    "resources": template["Resources"],
    "topic_policy": sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"],
    "subscriptions": subscriptions,
    "queue": sqs.get_queue_attributes(QueueUrl=resources["DeadLetters"].physical_resource_id,
        AttributeNames=["All"])["Attributes"],
    # moto gives back a policy of a template as Python writes it.
    "policies": {name: ast.literal_eval(
        str(iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]))
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]},
    "volume": ec2.describe_volumes(
        VolumeIds=[resources["Volume"].physical_resource_id])["Volumes"][0],
    "launched": launched,
    "user_data": base64.b64decode(launched["UserData"]).decode(),
    "group": autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"][0],
    "listeners": [listener for one in balancers for listener in
        elb.describe_listeners(LoadBalancerArn=one["LoadBalancerArn"])["Listeners"]],
    "rules": elb.describe_rules(ListenerArn=known["ListenerArn"])["Rules"],
    "alarms": {one["AlarmName"]: one for one in cloudwatch.describe_alarms()["MetricAlarms"]},
    "known": known,
}, default=str))
