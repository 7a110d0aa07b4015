#!/usr/bin/env bash
# A real S3 cloud on loopback: one-node Ceph (monitor, one OSD in memory) with the RADOS Gateway, from Debian's packages.
#
#   ceph_cloud.sh install           apt-get the packages, if they are missing (needs root)
#   ceph_cloud.sh start DIR PORT    start with all state in DIR; S3 on 127.0.0.1:PORT, monitor on PORT+1 and PORT+2
#   ceph_cloud.sh stop DIR          stop the processes that `start` recorded in DIR, and only those
#
# S3 user: access key `cloudaccess`, secret `cloudsecret`. The object store is in memory: this stands for a cloud's
# protocol behaviour (conditional PUT, checksums, paging, errors), not for its disks. A fresh DIR is an empty cloud.
set -euo pipefail

usage() { sed -n 4,6p "$0" >&2; exit 2; }

install_packages() {
  command -v radosgw >/dev/null && command -v ceph-osd >/dev/null && return
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ceph-mon ceph-osd radosgw ceph-common >/dev/null
}

write_config() { # DIR PORT FSID
  cat >"$1/ceph.conf" <<CONF
[global]
fsid = $3
mon host = [v2:127.0.0.1:$(($2 + 1)),v1:127.0.0.1:$(($2 + 2))]
mon initial members = a
public addr = 127.0.0.1
cluster addr = 127.0.0.1
keyring = $1/keyring
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon warn on pool no redundancy = false
osd crush chooseleaf type = 0
osd objectstore = memstore
memstore device bytes = 8589934592
mon data = $1/mon
osd data = $1/osd
mon data avail crit = 1
mon data avail warn = 1
run dir = $1/run
admin socket = $1/run/\$name.asok
pid file = $1/run/\$name.pid
log file = $1/log/\$name.log
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:$2
rgw thread pool size = 64
rgw data = $1/rgw
CONF
}

write_keys() { # DIR
  local grants=(--cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *')
  ceph-authtool --create-keyring "$1/keyring" --gen-key -n mon. "${grants[@]}" >/dev/null
  for name in client.admin client.rgw osd.0; do
    ceph-authtool "$1/keyring" --gen-key -n "$name" "${grants[@]}" >/dev/null
  done
}

start_cloud() { # DIR PORT
  mkdir -p "$1"/{mon,osd,rgw,run,log}
  local dir fsid osd_uuid
  dir=$(cd "$1" && pwd)
  fsid=$(cat /proc/sys/kernel/random/uuid)
  osd_uuid=$(cat /proc/sys/kernel/random/uuid)
  write_config "$dir" "$2" "$fsid"
  write_keys "$dir"
  local conf=(-c "$dir/ceph.conf") as=(--setuser root --setgroup root)
  monmaptool --create --addv a "[v2:127.0.0.1:$(($2 + 1)),v1:127.0.0.1:$(($2 + 2))]" --fsid "$fsid" "$dir/monmap" >/dev/null
  ceph-mon "${conf[@]}" --mkfs -i a --monmap "$dir/monmap" --keyring "$dir/keyring" >/dev/null
  ceph-mon "${conf[@]}" -i a "${as[@]}" >/dev/null
  timeout 60 ceph "${conf[@]}" osd new "$osd_uuid" >/dev/null
  ceph-osd "${conf[@]}" -i 0 --mkfs --osd-uuid "$osd_uuid" "${as[@]}" >/dev/null 2>&1
  ceph-osd "${conf[@]}" -i 0 "${as[@]}" >/dev/null 2>&1
  radosgw "${conf[@]}" -n client.rgw "${as[@]}" >/dev/null 2>&1
  timeout 60 radosgw-admin "${conf[@]}" -n client.rgw user create --uid=cloud --display-name=cloud \
    --access-key=cloudaccess --secret=cloudsecret >/dev/null 2>&1
}

stop_cloud() { # DIR
  [ -d "$1/run" ] || return 0
  local file pid
  for file in "$1"/run/client.rgw.pid "$1"/run/osd.0.pid "$1"/run/mon.a.pid; do
    [ -f "$file" ] || continue
    pid=$(cat "$file")
    kill "$pid" 2>/dev/null || continue
    for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    kill -9 "$pid" 2>/dev/null || true
  done
}

case "${1:-}" in
install) install_packages ;;
start) [ $# -eq 3 ] || usage; start_cloud "$2" "$3" ;;
stop) [ $# -eq 2 ] || usage; stop_cloud "$2" ;;
*) usage ;;
esac
