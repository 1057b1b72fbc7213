#!/bin/bash
# The first boot of purgefront's instance. The CloudFormation template has the same text, and the
# Terraform module reads this file: both fill in the names in braces, so the shell's own variables
# have none here.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive AWS_DEFAULT_REGION='${Region}' PATH="$PATH:/snap/bin"

instance=$(cloud-init query v1.instance_id)
trap '${Signal} FAILURE --unique-id "$instance"' ERR
until snap install aws-cli --classic; do sleep 5; done

# An instance that this one replaces may hold the volume until it is gone.
volume='${Volume}'
holder() {
    aws ec2 describe-volumes --volume-ids "$volume" --query 'Volumes[0].Attachments[0].InstanceId' --output text
}
until [ "$(holder)" = "$instance" ]; do
    aws ec2 attach-volume --volume-id "$volume" --instance-id "$instance" --device /dev/sdf || sleep 5
done
device=$(echo "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_$volume" | sed 's/vol-/vol/')
until [ -b "$device" ]; do sleep 1; done
udevadm settle
# Only a new volume is formatted: mkfs.xfs refuses one that has a file system.
blkid --probe "$device" || mkfs.xfs -q "$device"
mkdir -p /var/lib/purgefront
echo "$device /var/lib/purgefront xfs defaults,nofail,x-systemd.growfs,x-systemd.device-timeout=5min 0 2" >>/etc/fstab
systemctl daemon-reload
mount /var/lib/purgefront
xfs_growfs /var/lib/purgefront

aws s3 cp --no-progress 's3://${PackageObject}' /tmp/purgefront.deb
echo '${PackageSha256}  /tmp/purgefront.deb' | sha256sum --check
apt-get -o DPkg::Lock::Timeout=300 update -q
apt-get -o DPkg::Lock::Timeout=300 install -qy /tmp/purgefront.deb

cat >/etc/purgefront/purgefront.toml <<'TOML'
[server]
listen = "0.0.0.0:8080"
[store]
url = "sqlite:///var/lib/purgefront/purgefront.db"
[sns]
topics = ["${Topic}"]
${Tokens}
TOML
echo 'AWS_REGION=${Region}' >>/etc/purgefront/environment
# Without its volume, the service does not start.
mkdir -p /etc/systemd/system/purgefront.service.d
printf '[Unit]\nRequiresMountsFor=/var/lib/purgefront\n' >/etc/systemd/system/purgefront.service.d/volume.conf
systemctl daemon-reload
purgefront check --config /etc/purgefront/purgefront.toml

# The way back: a new version may migrate the store when it starts, and the old one then refuses it.
store=/var/lib/purgefront/purgefront.db
purgefront_store() {
    runuser -u purgefront -- purgefront store "$@" --config /etc/purgefront/purgefront.toml
}
is_older() {
    purgefront_store check --json |
        python3 -c 'import json, sys; v = json.load(sys.stdin)["version"]; sys.exit(v["found"] >= v["current"])'
}
# Another instance may have given the user another number.
chown -R purgefront:purgefront /var/lib/purgefront
if [ -e "$store" ] && is_older; then
    purgefront_store backup "/var/lib/purgefront/before-upgrade-$(date -u +%Y%m%dT%H%M%SZ).db"
fi

systemctl enable --now purgefront
until purgefront healthcheck --url http://127.0.0.1:8080; do
    systemctl is-active --quiet purgefront
    sleep 1
done
# Nobody waits for it when the group has replaced an instance by itself.
${Signal} SUCCESS --unique-id "$instance" || true
