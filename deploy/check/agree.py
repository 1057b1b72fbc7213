"""Whether the artefacts agree with each other and with purgefront, which no tool for one of them sees."""

import json
import os
import re
import subprocess
import tempfile
import tomllib
import urllib.parse
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PORT, ADMIN_PORT = 8080, 9090
STORE = "/var/lib/purgefront"
# By what an alarm of CloudWatch has to select, in each namespace.
DIMENSIONS = {
    "AWS/SQS": ["QueueName"],
    "AWS/SNS": ["TopicName"],
    "AWS/ApplicationELB": ["LoadBalancer", "TargetGroup"],
    "AWS/EC2": ["AutoScalingGroupName"],
    "AWS/RDS": ["DBInstanceIdentifier"],
}
# What CloudFormation documents for Rules.
RULE_FUNCTIONS = {
    "Ref", "Fn::And", "Fn::Contains", "Fn::EachMemberEquals", "Fn::EachMemberIn", "Fn::Equals", "Fn::Not",
    "Fn::Or", "Fn::RefAll", "Fn::ValueOf", "Fn::ValueOfAll",
}


class Failed(Exception):
    """Something is wrong with an artefact; the text says what."""


def expect(condition, text):
    if not condition:
        raise Failed(text)


def same(found, wanted, what):
    expect(found == wanted, f"{what}: {found} instead of {wanted}")


def debian_config():
    return tomllib.loads((DEPLOY / "debian" / "purgefront.toml").read_text())


def functions(value):
    """The names of CloudFormation's functions in a value."""
    if isinstance(value, dict):
        here = {key for key in value if key == "Ref" or key.startswith("Fn::")}
        return here.union(*map(functions, value.values()))
    return set().union(*map(functions, value)) if isinstance(value, list) else set()


def template(loaded):
    unknown = functions(loaded["Rules"]) - RULE_FUNCTIONS
    expect(not unknown, f"Rules do not take {sorted(unknown)}")
    resources = loaded["Resources"]
    target, group = (resources[name]["Properties"] for name in ("TargetGroup", "Group"))
    same(target["Port"], PORT, "the target group's port")
    same(target["HealthCheckPath"], "/healthz", "what replaces the instance")
    patience = target["HealthCheckIntervalSeconds"] * target.get("UnhealthyThresholdCount", 2)
    expect(patience >= 100, f"a restart of {patience} s replaces the instance")
    instance, balancer = (resources[name]["Properties"] for name in (
        "InstanceSecurityGroup", "LoadBalancerSecurityGroup"))
    for rule in (instance["SecurityGroupIngress"][0], balancer["SecurityGroupEgress"][0]):
        same((rule["FromPort"], rule["ToPort"]), (PORT, PORT), rule["Description"])
    expect("SourceSecurityGroupId" in instance["SecurityGroupIngress"][0], "everybody reaches the instance")
    same((group["MinSize"], group["MaxSize"]), ("1", "1"), "SQLite has one service")
    same(group["HealthCheckGracePeriod"], 900, "the time of the first boot")
    same(resources["Group"]["UpdatePolicy"]["AutoScalingRollingUpdate"]["MinInstancesInService"], 0,
         "while the new instance starts")
    fields = resources["Template"]["Properties"]["LaunchTemplateData"]["UserData"]["Fn::Base64"]["Fn::Sub"][1]
    signalled = re.search(r"--logical-resource-id (\w+)", fields["Signal"]["Fn::Sub"])[1]
    same(resources[signalled]["Type"], "AWS::AutoScaling::AutoScalingGroup", signalled)
    same(resources["Volume"]["Properties"]["AvailabilityZone"]["Fn::If"][1],
         {"Fn::GetAtt": ["SubnetA", "AvailabilityZone"]}, "the volume's zone")
    merging(loaded)
    alarms(resources)


def merging(loaded):
    """By default, no bucket may be listed; and what may list them may do nothing else."""
    same(loaded["Parameters"]["ListedBucketNames"]["Default"], "", "the buckets that may be listed by default")
    policy = loaded["Resources"]["MergingPolicy"]
    same(policy["Condition"], "HasListedBuckets", "when buckets may be listed")
    (ours,) = policy["Properties"]["PolicyDocument"]["Statement"]
    (theirs,) = json.loads((DEPLOY / "iam" / "merging.json").read_text())["Statement"]
    same({**ours, "Resource": None}, {**theirs, "Resource": None}, "the permission to list")
    expect("ListedBucketNames" in str(ours["Resource"]), "other buckets may be listed")


def alarms(resources):
    for name, resource in resources.items():
        if resource["Type"] == "AWS::CloudWatch::Alarm":
            alarm = resource["Properties"]
            found = sorted(one["Name"] for one in alarm["Dimensions"])
            same(found, DIMENSIONS[alarm["Namespace"]], name)


def settings(text, kind, name):
    """The arguments of a resource of Terraform's; those of its blocks, too."""
    found = re.search(rf'^resource "{kind}" "{name}" {{\n(.*?)^}}', text, re.M | re.S)
    expect(found, f"there is no {kind}.{name}")
    return dict(re.findall(r"^\s*(\w+)\s*= (.*)$", found[1], re.M))


def objects(text, *names):
    for name in names:
        found = re.search(rf'^variable "{name}" {{.*?^  type\s*= (\w+)', text, re.M | re.S)
        same(found and found[1], "object", f"var.{name}, which may be made in the same configuration")


def module(text):
    """The Terraform module's, as text without comments."""
    def block(kind, name):
        return settings(text, kind, name)

    for kind, name in (("ingress", "instance"), ("egress", "balancer")):
        rule = block(f"aws_vpc_security_group_{kind}_rule", name)
        same((rule["from_port"], rule["to_port"]), (str(PORT), str(PORT)), f"{kind} of {name}")
        expect("referenced_security_group_id" in rule, f"{kind} of {name} is open")
    target = block("aws_lb_target_group", "this")
    same((target["port"], target["path"]), (str(PORT), '"/healthz"'), "the target group")
    patience = int(target["interval"]) * int(target["unhealthy_threshold"])
    expect(patience >= 100, f"a restart of {patience} s replaces the instance")
    group = block("aws_autoscaling_group", "this")
    same([group[name] for name in ("min_size", "max_size", "health_check_grace_period", "min_healthy_percentage")],
         ["1", "1", "900", "0"], "the group")
    objects(text, "topic", "zone", "certificate", "network", "listener")
    listed(text)


def listed(text):
    """By default, no bucket may be listed."""
    default = re.search(r'^variable "listed_bucket_names" {.*?^  default\s*= (.*?)$', text, re.M | re.S)
    same(default and default[1], "[]", "the buckets that may be listed by default")
    policy = settings(text, "aws_iam_role_policy", "merging")
    same(policy["count"], "length(var.listed_bucket_names) > 0 ? 1 : 0", "when buckets may be listed")
    expect("iam/merging.json" in text and "in var.listed_bucket_names :" in text, "other buckets may be listed")


def first_boot():
    """A store that the new version will migrate is backed up first, and no other."""
    text = (DEPLOY / "ec2" / "user-data.sh").read_text()
    part = re.search(r"^store=.*?^fi$", text, re.M | re.S)
    expect(part, "no backup before a migration")
    with tempfile.TemporaryDirectory() as directory:
        fake = '#!/bin/sh\n[ "$2" = check ] && echo "{\\"version\\": $VERSION}" || echo "$@" >>"$SAID"\n'
        tools = {"purgefront": fake, "runuser": '#!/bin/sh\nshift 3; exec "$@"\n', "chown": "#!/bin/sh\n"}
        for name, script in tools.items():
            file = Path(directory) / name
            file.write_text(script)
            file.chmod(0o755)
        (Path(directory) / "purgefront.db").touch()
        for found, backups in ((7, 1), (8, 0)):
            said = Path(directory) / f"said{found}"
            said.touch()
            run = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", part[0].replace(STORE, directory)], text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                env={"PATH": f"{directory}:{os.environ['PATH']}", "SAID": str(said),
                     "VERSION": f'{{\\"found\\": {found}, \\"current\\": 8}}'.replace("\\", "")})
            same(run.returncode, 0, f"the backup before a migration says: {run.stdout}")
            same(said.read_text().count("store backup"), backups, f"backups of version {found} of 8")


def dockerfile():
    """The user and the store's directory of the image."""
    text = (ROOT / "Dockerfile").read_text()
    user = re.search(r"^USER (\d+):(\d+)$", text, re.M)
    same(re.search(r"^ENV PURGEFRONT_STORE__URL=sqlite://(.*)/purgefront\.db$", text, re.M)[1], STORE, "the image")
    return int(user[1]), int(user[2])


def manifests(documents, image):
    """Of one pod with a volume, or of several with PostgreSQL."""
    def of(kind):
        return [one for one in documents if one["kind"] == kind]

    accounts, (controller,) = of("ServiceAccount"), of("StatefulSet") + of("Deployment")
    spec = controller["spec"]
    services = {one["metadata"]["name"]: one["spec"] for one in of("Service")}
    maps = {one["metadata"]["name"]: one["data"] for one in of("ConfigMap")}
    pod = spec["template"]["spec"]
    labels = spec["template"]["metadata"]["labels"]
    container = pod["containers"][0]
    same(spec["selector"]["matchLabels"], labels, "the selector")
    same(container["image"], image, "the image")
    same(pod["serviceAccountName"], accounts[0]["metadata"]["name"], "the service account")
    security = pod["securityContext"]
    same((security["runAsUser"], security["runAsGroup"]), dockerfile(), "the user")
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    same(ports["http"], PORT, "the container's port")
    for name, service in services.items():
        same(service["selector"], labels, f"the selector of service {name}")
        for port in service["ports"]:
            expect(port["targetPort"] in ports, f"service {name} leads to port {port['targetPort']}")
    for probe, path in (("startup", "/healthz"), ("liveness", "/healthz"), ("readiness", "/readyz")):
        same(container[f"{probe}Probe"]["httpGet"], {"path": path, "port": "http"}, probe)
    mounts = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    if controller["kind"] == "StatefulSet":
        files = one_pod(spec, services, mounts, maps)
    else:
        files = several_pods(spec, of("PodDisruptionBudget"), maps, labels)
    same(container["args"], ["serve", "--config", *files], "the arguments")
    for backend in of("HTTPRoute")[0]["spec"]["rules"][0]["backendRefs"]:
        served = [port["port"] for port in services[backend["name"]]["ports"]]
        expect(backend["port"] in served, f"the route leads to port {backend['port']}")
    for monitor in of("PodMonitor"):
        metrics(monitor["spec"], of("NetworkPolicy")[0]["spec"], labels, ports, container["env"])


def one_pod(spec, services, mounts, maps):
    same(spec["replicas"], 1, "SQLite has one service")
    same(services.get(spec["serviceName"], {}).get("clusterIP"), "None", "the stateful set's service")
    pod = spec["template"]["spec"]
    same(pod["securityContext"]["fsGroup"], dockerfile()[1], "who may write to the volume")
    claim = spec["volumeClaimTemplates"][0]
    same(mounts[claim["metadata"]["name"]], STORE, "the store's volume")
    same(claim["spec"]["accessModes"], ["ReadWriteOnce"], "the store's volume")
    config = next(one for one in pod["volumes"] if "configMap" in one)
    return [f"{mounts[config['name']]}/{file}" for file in maps[config["configMap"]["name"]]]


def several_pods(spec, budgets, maps, labels):
    expect(spec["replicas"] >= 2, "one replica is an outage at each failure")
    same(spec["strategy"]["rollingUpdate"], {"maxUnavailable": 0, "maxSurge": 1}, "an update")
    same([one["spec"]["selector"]["matchLabels"] for one in budgets], [labels], "the budget's selector")
    same(budgets[0]["spec"]["maxUnavailable"], 1, "the budget")
    pod = spec["template"]["spec"]
    spread = {one["topologyKey"]: one for one in pod["topologySpreadConstraints"]}
    same(set(spread), {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}, "what pods are spread over")
    for one in spread.values():
        same(one["labelSelector"]["matchLabels"], labels, "which pods are spread")
    container = pod["containers"][0]
    same([one["name"] for one in container["volumeMounts"]], ["config"], "volumes: the store is not on one")
    (config,) = pod["volumes"]
    sources = [one["configMap"]["name"] for one in config["projected"]["sources"]]
    urls = [maps[one["configMapRef"]["name"]] for one in container["envFrom"] if "configMapRef" in one]
    (url,) = [one["PURGEFRONT_STORE__URL"] for one in urls if "PURGEFRONT_STORE__URL" in one]
    directory = container["volumeMounts"][0]["mountPath"]
    postgres(url, f"{directory}/database-ca.pem")
    secret = next(one["valueFrom"] for one in container["env"] if one["name"] == "PGPASSWORD")
    same(secret["secretKeyRef"]["name"], "purgefront-database", "the password's secret")
    return [f"{directory}/{file}" for file in maps[sources[0]]]


def postgres(url, authorities):
    """That a database is reached by TLS with its name verified, and that no password is in the URL."""
    parts = urllib.parse.urlsplit(url)
    same(parts.scheme, "postgres", "the store")
    same((parts.username, parts.password, parts.path), ("purgefront", None, "/purgefront"), url)
    same(dict(urllib.parse.parse_qsl(parts.query)), {"sslmode": "verify-full", "sslrootcert": authorities}, url)
    accepted(url)


def accepted(url):
    """By purgefront, as `store.url`."""
    environment = {"AWS_REGION": "us-east-1", "PURGEFRONT_STORE__URL": url,
                   "PURGEFRONT_SNS__TOPICS": '["arn:aws:sns:us-east-1:123456789012:site-changes"]'}
    with tempfile.TemporaryDirectory() as directory:
        run = subprocess.run([ROOT / "target" / "debug" / "purgefront", "check"], cwd=directory, env=environment,
                             text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    same(run.returncode, 0, f"{url}: {run.stdout}")


def metrics(monitor, policy, labels, ports, environment):
    same(monitor["selector"]["matchLabels"], labels, "the pod monitor's selector")
    same(policy["podSelector"]["matchLabels"], labels, "the network policy's selector")
    endpoint = monitor["podMetricsEndpoints"][0]
    same(ports.get(endpoint["port"]), ADMIN_PORT, "the scraped port")
    listen = next(one["value"] for one in environment if one["name"] == "PURGEFRONT_SERVER__ADMIN_LISTEN")
    same(listen, f"0.0.0.0:{ADMIN_PORT}", "the admin listener")
    same(endpoint["relabelings"], [{"targetLabel": "job", "replacement": "purgefront"}], "the job")
    opened = {rule["ports"][0]["port"]: rule.get("from") for rule in policy["ingress"]}
    same(set(opened), {PORT, ADMIN_PORT}, "the network policy")
    expect(opened[ADMIN_PORT] and not opened[PORT], "the network policy opens the wrong port")


def unit(text):
    """That it does not keep from purgefront what it needs: nothing here can start it."""
    settings = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", text, re.M):
        settings.setdefault(name, []).append(value)
    directory = debian_config()["store"]["url"].removeprefix("sqlite://").removesuffix("/purgefront.db")
    wanted = {
        "StateDirectory": [directory.removeprefix("/var/lib/")],
        "WorkingDirectory": [directory],
        "ExecStart": ["/usr/bin/purgefront serve --config /etc/purgefront/purgefront.toml"],
        "EnvironmentFile": ["-/etc/purgefront/environment"],
        "User": ["purgefront"],
        "Restart": ["on-failure"],
        "RestrictAddressFamilies": ["AF_INET AF_INET6 AF_UNIX"],
        "SystemCallFilter": ["@system-service", "~@privileged"],
    }
    for name, value in wanted.items():
        same(settings.get(name), value, name)
    closed = {"PrivateNetwork", "IPAddressDeny", "SocketBindDeny", "InaccessiblePaths", "NoExecPaths",
              "ReadOnlyPaths", "RootDirectory", "TemporaryFileSystem"}
    expect(not closed & set(settings), f"{closed & set(settings)} may keep it from the network or the store")
    users = (DEPLOY / "debian" / "sysusers.d" / "purgefront.conf").read_text().split()
    same((users[1], users[-1]), ("purgefront", directory), "the user")


def proxies(caddyfile, nginx, tunnel):
    listen = debian_config()["server"]["listen"]
    found = {
        "Caddy": re.search(r"reverse_proxy (\S+)", caddyfile)[1],
        "nginx": re.search(r"^\s*server ([\d.:]+);", nginx, re.M)[1],
        "cloudflared": tunnel["ingress"][0]["service"].removeprefix("http://"),
    }
    for name, address in found.items():
        same(address, listen, f"where {name} forwards to")
    same(tunnel["credentials-file"], f"/etc/cloudflared/{tunnel['tunnel']}.json", "the tunnel's credentials")


def compose(service):
    dockerfile()
    expect(f"store:{STORE}" in service["volumes"], "the store is not on the volume")
    expect(service["ports"] == [f"127.0.0.1:{PORT}:{PORT}"], "another port")


def compose_replicas(file, one):
    """The file of several replicas; `one` is purgefront of the other file."""
    services = file["services"]
    several, database = services["purgefront"], services["database"]["environment"]
    expect(several["deploy"]["replicas"] >= 2 and "ports" not in several, "two replicas cannot have one port")
    environment = dict(several["environment"])
    accepted(environment["PURGEFRONT_STORE__URL"])
    url = urllib.parse.urlsplit(environment.pop("PURGEFRONT_STORE__URL"))
    same((url.scheme, url.username, url.hostname, url.path),
         ("postgres", database["POSTGRES_USER"], "database", f"/{database['POSTGRES_USER']}"), "the store")
    same(environment.pop("PGPASSWORD"), database["POSTGRES_PASSWORD"], "the password")
    same(environment, one["environment"], "the other settings")
    same(services["proxy"]["ports"], [f"127.0.0.1:{PORT}:{PORT}"], "the proxy")
    expect(f"dynamic a purgefront {PORT} " in file["configs"]["proxy"]["content"], "the proxy leads elsewhere")


def purge():
    """A purge takes the store and the secrets, also where the store is a mount point."""
    with tempfile.TemporaryDirectory() as directory:
        store, etc = Path(directory) / "store", Path(directory) / "etc"
        for file in (store / "broken" / "purgefront.db", store / ".hidden", etc / "environment"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        script = (DEPLOY / "debian" / "postrm").read_text()
        script = script.replace(STORE, str(store)).replace("/etc/purgefront", str(etc))
        # As for a mount point.
        (Path(directory) / "rmdir").write_text("#!/bin/sh\nexit 1\n")
        (Path(directory) / "rmdir").chmod(0o755)
        path = {"PATH": f"{directory}:{os.environ['PATH']}"}
        subprocess.run(["sh", "-c", script, "postrm", "remove"], check=True, env=path)
        expect((store / ".hidden").exists(), "the store goes when the package is removed")
        done = subprocess.run(["sh", "-c", script, "postrm", "purge"], env=path)
        same(done.returncode, 0, "a purge where the store is a mount point")
        same([*store.iterdir(), *etc.iterdir()], [], "left after a purge")


def overlay(directory, base):
    """Writes an overlay of the manifests with their component."""
    folder = os.path.relpath(DEPLOY / "kubernetes", os.path.realpath(directory))
    (Path(directory) / "kustomization.yaml").write_text(
        yaml.safe_dump({"resources": [f"{folder}/{base}"], "components": [f"{folder}/metrics"]}))
