"""Creates the stack of deploy/cloudformation/fargate.yaml in moto, and prints what came of it.

moto's CloudFormation cannot create all of it, so what is printed are the properties as moto has resolved
them. argv: the template, and parameters as JSON.
"""
import json, sys, warnings

import boto3, yaml
from moto import mock_aws
from moto.cloudformation.models import cloudformation_backends
from moto.cloudformation.parsing import clean_json
from moto.cloudformation.utils import yaml_tag_constructor
from moto.ecs.models import TaskDefinition
from moto.elbv2.models import FakeLoadBalancer, FakeTargetGroup
from moto.rds.models import DBInstance

warnings.simplefilter("ignore")
# The attributes that moto's do not have for templates: of both, the end of the ARN.
FakeTargetGroup.get_cfn_attribute = lambda group, _: group.arn.split(":")[-1]
others = FakeLoadBalancer.get_cfn_attribute
FakeLoadBalancer.get_cfn_attribute = lambda balancer, name: (
    balancer.arn.split("loadbalancer/")[-1] if name == "LoadBalancerFullName" else others(balancer, name))
FakeLoadBalancer.has_cfn_attr = classmethod(lambda *_: True)
# moto looks for Endpoint only.
DBInstance.get_cfn_attribute = lambda database, _: database.address
DBInstance.has_cfn_attr = classmethod(lambda *_: True)
# moto leaves a null where a template has no value, and then stumbles over it.
registered = TaskDefinition.create_from_cloudformation_json


def without_nulls(name, found, *more, **others):
    properties = found["Properties"]
    containers = [one for one in properties["ContainerDefinitions"] if one is not None]
    return registered(name, {**found, "Properties": {**properties, "ContainerDefinitions": containers}}, *more, **others)


TaskDefinition.create_from_cloudformation_json = without_nulls
text, parameters = open(sys.argv[1]).read(), json.loads(sys.argv[2])
yaml.add_multi_constructor("", yaml_tag_constructor, yaml.SafeLoader)
template = yaml.safe_load(text)
# moto's database takes no group of the same stack.
text = text.replace("DBParameterGroupName: !Ref DatabaseParameters", "DBParameterGroupName: default.postgres17")
mock = mock_aws()
mock.start()
(acm, cloudformation, ec2, route53, sns) = (
    boto3.client(name, region_name="us-east-1") for name in "acm cloudformation ec2 route53 sns".split())

subnets = [one["SubnetId"] for one in ec2.describe_subnets()["Subnets"]]
known = {
    "TopicArn": sns.create_topic(Name="theirs")["TopicArn"],
    "VpcId": ec2.describe_vpcs()["Vpcs"][0]["VpcId"],
    **{f"{name}SubnetIds": ",".join(subnets[at:at + 2]) for at, name in ((0, "Public"), (2, "Task"), (4, "Database"))},
    "CertificateArn": acm.request_certificate(DomainName="purge.example.com")["CertificateArn"],
    "HostedZoneId": route53.create_hosted_zone(Name="example.com", CallerReference="r")["HostedZone"]["Id"].split("/")[-1],
}
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
print(json.dumps({
    "status": stack["StackStatus"],
    "wanted": wanted,
    "kinds": {name: template["Resources"][name]["Type"] for name in wanted},
    "outputs": {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]},
    "known": known,
}, default=str))
