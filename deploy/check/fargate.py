"""Whether the template and the module of several replicas on Fargate agree with purgefront, with each other, and
with the template of one instance."""

import json
import re
import shutil
import subprocess
import tempfile
import textwrap
import tomllib
from pathlib import Path

import yaml

from agree import (ADMIN_PORT, PORT, ROOT, RULE_FUNCTIONS, alarms, dockerfile, expect, functions, listed, merging, objects,
                   postgres, same, settings)

DATABASE_PORT = 5432
# Made alike by both templates.
DELIVERY = ("Topic", "TopicPolicy", "DeadLetters", "DeadLettersPolicy")
# Longer than RDS takes to fail over, which AWS gives as up to two minutes.
FAIL_OVER = 180


def named(pairs):
    """A list of names and values as one dictionary, with what is only there under a condition."""
    pairs = [one["Fn::If"][1] if "Fn::If" in one else one for one in pairs]
    return {one["Name"]: one.get("Value", one.get("ValueFrom")) for one in pairs}


def template(loaded, single, stop_time):
    unknown = functions(loaded["Rules"]) - RULE_FUNCTIONS
    expect(not unknown, f"Rules do not take {sorted(unknown)}")
    resources, others = loaded["Resources"], single["Resources"]
    for name in DELIVERY:
        same(resources[name], others[name], name)
    same(resources["Subscription"]["Properties"], others["Subscription"]["Properties"], "the subscription")
    same(*(all["Role"]["Properties"]["Policies"][0] for all in (resources, others)), "purgefront's permissions")
    same(resources["MergingPolicy"], others["MergingPolicy"], "the permission to list")
    same(*(all["Parameters"]["ListedBucketNames"] for all in (loaded, single)), "the buckets that may be listed")
    merging(loaded)
    alarms(resources)
    properties = {name: one["Properties"] for name, one in resources.items() if "Properties" in one}
    target = properties["TargetGroup"]
    same((target["Port"], target["TargetType"], target["HealthCheckPath"]), (PORT, "ip", "/readyz"), "the target group")
    patience = target["HealthCheckIntervalSeconds"] * target["UnhealthyThresholdCount"]
    expect(patience >= FAIL_OVER, f"while the database fails over, the tasks are replaced after {patience} s")
    service(properties["Service"], loaded["Parameters"]["Replicas"])
    network(properties)
    database(resources["Database"], properties["DatabaseParameters"])
    containers(properties["Task"]["ContainerDefinitions"], stop_time)


def service(found, replicas):
    expect(replicas["MinValue"] >= 2 and replicas["Default"] >= 2, "one replica is an outage at each failure")
    deployment = found["DeploymentConfiguration"]
    same((deployment["MinimumHealthyPercent"], deployment["MaximumPercent"]), (100, 200), "an update")
    same(deployment["DeploymentCircuitBreaker"], {"Enable": True, "Rollback": True}, "an update that fails")
    same([(one["ContainerName"], one["ContainerPort"]) for one in found["LoadBalancers"]], [("purgefront", PORT)],
         "where the load balancer leads")


def network(properties):
    """Only SNS and people come in, only by the load balancer, and only purgefront reaches the database."""
    rules = [
        ("TasksFromBalancer", PORT, "TaskSecurityGroup", "LoadBalancerSecurityGroup"),
        ("DatabaseFromTasks", DATABASE_PORT, "DatabaseSecurityGroup", "TaskSecurityGroup"),
    ]
    for name, port, group, source in rules:
        rule = properties[name]
        same((rule["FromPort"], rule["ToPort"]), (port, port), name)
        same((rule["GroupId"], rule["SourceSecurityGroupId"]), ({"Ref": group}, {"Ref": source}), name)
    out = {name: {rule["FromPort"] for rule in properties[f"{name}SecurityGroup"]["SecurityGroupEgress"]
                  if rule.get("CidrIp") != "127.0.0.1/32"} for name in ("LoadBalancer", "Task", "Database")}
    same(out, {"LoadBalancer": {PORT}, "Task": {443, DATABASE_PORT}, "Database": set()}, "what goes out")
    opened = {name: rule["FromPort"] for name, one in properties.items()
              for rule in one.get("SecurityGroupIngress", [])}
    same(opened, {"LoadBalancerSecurityGroup": 443}, "what comes in")


def database(resource, parameters):
    same((resource["DeletionPolicy"], resource["UpdateReplacePolicy"]), ("Snapshot", "Snapshot"), "what stays")
    found = resource["Properties"]
    same((found["StorageEncrypted"], found["PubliclyAccessible"]), (True, False), "the database")
    same(found["MasterUserPassword"], {"Fn::Sub": "{{resolve:secretsmanager:${Password}:SecretString:password}}"},
         "the password")
    same(found["DBParameterGroupName"], {"Ref": "DatabaseParameters"}, "the parameters")
    same(parameters["Parameters"], {"rds.force_ssl": "1"}, "the parameters")
    same(parameters["Family"], {"Fn::Sub": "postgres${DatabaseVersion}"}, "the parameters' family")


def containers(all, stop_time):
    all = [one["Fn::If"][1] if "Fn::If" in one else one for one in all]
    purgefront, files, operator, prometheus = all
    same([one["Name"] for one in all], ["purgefront", "files", "operator", "prometheus"], "the containers")
    same([one["Essential"] for one in all], [True, False, False, False], "which of them the task lives with")
    same([one["ReadonlyRootFilesystem"] for one in all], [True, True, False, True], "read-only root file systems")
    same(purgefront["User"], "{}:{}".format(*dockerfile()), "the user")
    same([one["ContainerPort"] for one in purgefront["PortMappings"]], [PORT], "the ports")
    expect(purgefront["StopTimeout"] > stop_time, f"StopTimeout is {purgefront['StopTimeout']}")
    image = (ROOT / "Dockerfile").read_text()
    check = json.loads(re.search(r"^HEALTHCHECK (?:.|\n)*?CMD (\[.*\])$", image, re.M)[1])
    same(purgefront["HealthCheck"]["Command"], ["CMD", *check, "--url", f"http://127.0.0.1:{PORT}"], "the health check")
    environment = named(purgefront["Environment"])
    same(set(environment), {"AWS_REGION", "PURGEFRONT_SNS__TOPICS", "PURGEFRONT_STORE__URL"}, "the variables")
    same(named(purgefront["Secrets"]), {"PGPASSWORD": {"Fn::Sub": "${Password}:password::"}}, "the secrets")
    (mount,), (other,) = purgefront["MountPoints"], files["MountPoints"]
    same((mount["SourceVolume"], mount["ContainerPath"]), (other["SourceVolume"], other["ContainerPath"]), "the files")
    directory = mount["ContainerPath"]
    same(files["WorkingDirectory"], directory, "where the files are written")
    url = environment["PURGEFRONT_STORE__URL"]["Fn::Sub"].replace("${Database.Endpoint.Address}", "database")
    postgres(url, f"{directory}/database-ca.pem")
    same(purgefront["Command"], ["serve", "--config", f"{directory}/purgefront.toml"], "the arguments")
    same(purgefront["DependsOn"], [{"ContainerName": "files", "Condition": "SUCCESS"}], "what is there before")
    given = {**named(files["Environment"]), **named(files["Secrets"])}
    same(set(given), {"DATABASE_CA", "SETTINGS", "TOKENS", "METRICS_URL", "METRICS_REGION"}, "what the files are made of")
    expect(f"--config.file={directory}/prometheus.yml" in prometheus["Command"], "the agent's configuration")
    expect(f"--web.listen-address=127.0.0.1:{ADMIN_PORT}" not in prometheus["Command"], "two listen on one port")
    written(files, given["TOKENS"]["Fn::Sub"])


def written(files, tokens):
    """The files that the container writes, without what need not be given and with it."""
    tokens = tokens.replace("${ApiTokenSha256}", "1" * 64)
    whole = {"SETTINGS": '[[ignore]]\nbucket = "site"\nmatch = "a\\\\b"\n', "TOKENS": tokens,
             "METRICS_URL": "https://aps-workspaces.us-east-1.amazonaws.com/workspaces/ws-1/api/v1/remote_write",
             "METRICS_REGION": "us-east-1", "ECS_CONTAINER_METADATA_URI_V4": "http://169.254.170.2/v4/task-1"}
    for given, names in (({"METRICS_URL": ""}, set()), (whole, {"prometheus.yml"})):
        with tempfile.TemporaryDirectory() as directory:
            run = subprocess.run([*files["EntryPoint"], *files["Command"]], cwd=directory, text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                 env={"DATABASE_CA": "-----BEGIN\\n\n%s", **given})
            same((run.returncode, run.stdout), (0, ""), "the container `files`")
            found = {file.name: file for file in Path(directory).iterdir()}
            same(set(found), {"database-ca.pem", "purgefront.toml"} | names, "the files")
            same(found["database-ca.pem"].read_text(), "-----BEGIN\\n\n%s\n", "the authorities")
            settings = tomllib.loads(found["purgefront.toml"].read_text())
            same(set(settings), {"ignore", "api"} if names else set(), "the settings")
            run = subprocess.run(
                [ROOT / "target" / "debug" / "purgefront", "check", "--config", found["purgefront.toml"]], text=True,
                capture_output=True, env={"AWS_REGION": "us-east-1", "PURGEFRONT_SNS__TOPICS":
                                          '["arn:aws:sns:us-east-1:123456789012:site-changes"]'})
            same(run.returncode, 0, f"purgefront.toml: {run.stderr}")
            if names:
                agent(found["prometheus.yml"])


def agent(file):
    (scrape,) = yaml.safe_load(file.read_text())["scrape_configs"]
    same(scrape["job_name"], "purgefront", "the job")
    same(scrape["static_configs"], [{"targets": [f"127.0.0.1:{ADMIN_PORT}"], "labels": {"instance": "task-1"}}],
         "what is scraped")
    if shutil.which("promtool"):
        run = subprocess.run(["promtool", "check", "config", "--agent", file], text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        same(run.returncode, 0, run.stdout)


def module(text, loaded):
    """The Terraform module's, as text without comments, beside the template."""
    properties = {name: one.get("Properties", {}) for name, one in loaded["Resources"].items()}
    purgefront, files, _, prometheus = properties["Task"]["ContainerDefinitions"]
    target, found = properties["TargetGroup"], settings(text, "aws_lb_target_group", "this")
    for name, wanted in (("port", "Port"), ("interval", "HealthCheckIntervalSeconds"),
                         ("unhealthy_threshold", "UnhealthyThresholdCount"), ("healthy_threshold", "HealthyThresholdCount")):
        same(found[name], str(target[wanted]), f"the target group's {name}")
    same(found["path"], f'"{target["HealthCheckPath"]}"', "the target group's path")
    rules = {(kind, name): settings(text, f"aws_vpc_security_group_{kind}_rule", name)
             for kind, name in re.findall(r'^resource "aws_vpc_security_group_(\w+)_rule" "(\w+)"', text, re.M)}
    opened = {name: (rule["from_port"], "cidr_ipv4" in rule) for name, rule in rules.items()}
    port, port_of_database = str(PORT), str(DATABASE_PORT)
    same(opened, {
        ("ingress", "balancer"): ("443", True), ("egress", "balancer"): (port, False),
        ("ingress", "tasks"): (port, False), ("egress", "aws"): ("443", True),
        ("egress", "database"): (port_of_database, False), ("ingress", "database"): (port_of_database, False),
    }, "the security groups' rules")
    task = settings(text, "aws_ecs_task_definition", "this")
    same((task["cpu"], task["memory"]), (properties["Task"]["Cpu"], properties["Task"]["Memory"]), "the task's size")
    same(task["startPeriod"], str(purgefront["HealthCheck"]["StartPeriod"]), "the health check's start")
    same(task["stopTimeout"], str(purgefront["StopTimeout"]), "stopTimeout")
    for words in (purgefront["Command"], purgefront["HealthCheck"]["Command"], files["EntryPoint"]):
        expect(json.dumps(words) in text, f"the module has no {words}")
    for word in prometheus["Fn::If"][1]["Command"]:
        expect(f'"{word}",' in text, f"the module has no {word}")
    url = named(purgefront["Environment"])["PURGEFRONT_STORE__URL"]["Fn::Sub"]
    url = url.replace("${Database.Endpoint.Address}", "${aws_db_instance.this.address}")
    expect(f'"{url}"' in text, f"the module has no {url}")
    script = textwrap.dedent(re.search(r"<<-EOT\n(.*?)^ *EOT$", text, re.M | re.S)[1]).replace("$${", "${")
    same(script, files["Command"][0], "what the container `files` does")
    update = properties["Service"]["DeploymentConfiguration"]
    deployed = settings(text, "aws_ecs_service", "this")
    same([deployed[f"deployment_{name}_percent"] for name in ("minimum_healthy", "maximum")],
         [str(update["MinimumHealthyPercent"]), str(update["MaximumPercent"])], "an update")
    same([deployed[name] for name in ("enable", "rollback", "wait_for_steady_state")], ["true"] * 3, "the service")
    store = settings(text, "aws_db_instance", "this")
    same([store[name] for name in ("storage_encrypted", "publicly_accessible", "skip_final_snapshot")],
         ["true", "false", "false"], "the database")
    same(store["backup_retention_period"], str(properties["Database"]["BackupRetentionPeriod"]), "backups")
    same(settings(text, "aws_db_parameter_group", "this")["name"], '"rds.force_ssl"', "the parameters")
    for name, parameter in (("database_version", "DatabaseVersion"), ("database_class", "DatabaseClass"),
                            ("helper_image", "HelperImage"), ("prometheus_image", "PrometheusImage"),
                            ("replicas", "Replicas"), ("architecture", "Architecture"),
                            ("database_storage", "DatabaseStorage"), ("database_max_storage", "DatabaseMaxStorage")):
        default = re.search(rf'^variable "{name}" {{.*?^  default\s*= (.*?)$', text, re.M | re.S)[1].strip('"')
        same(default, str(loaded["Parameters"][parameter]["Default"]), f"var.{name}")
    objects(text, "topic", "zone", "network")
    listed(text)
    delivery()


def delivery():
    """The module makes topic, queue and subscription as the one of one instance does."""
    folder = ROOT / "deploy" / "terraform"
    files = [(part / "delivery.tf").read_text() for part in (folder / "fargate", folder)]
    end = r"^resource \"aws_sns_topic_subscription\""
    same(*(re.split(end, file, flags=re.M)[0] for file in files), "delivery.tf")
    ours, theirs = (settings(file, "aws_sns_topic_subscription", "this") for file in files)
    ours["delivery_policy"] = ours["delivery_policy"].replace("/../delivery", "/delivery")
    same(ours, theirs, "the subscription")
