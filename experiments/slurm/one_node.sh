#!/usr/bin/env bash
# A real Slurm of one node on loopback, for trying sweeps on a cluster without one. Needs root and Debian's packages:
#   apt-get install -y slurm-wlm munge
#
#   one_node.sh start FOLDER   start munge and Slurm, with configuration, logs and state below FOLDER
#   one_node.sh stop FOLDER    stop what was started there
# Then:  export SLURM_CONF=FOLDER/slurm.conf
set -euo pipefail

usage() { sed -n 's/^# \{0,1\}//p' "$0" | head -8 >&2; exit 2; }
[ $# -eq 2 ] || usage
mkdir -p "$2"
folder=$(cd "$2" && pwd)
export SLURM_CONF=$folder/slurm.conf

daemon_pid() { cat "$folder/$1.pid" 2>/dev/null; }

stop_one() {
    local pid
    pid=$(daemon_pid "$1") || return 0
    kill "$pid" 2>/dev/null || return 0
    for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || return 0; sleep 0.1; done
    kill -KILL "$pid"
}

start() {
    for program in munged slurmctld slurmd; do
        command -v "$program" >/dev/null || { echo "$program is missing: apt-get install -y slurm-wlm munge" >&2; exit 1; }
    done
    local cores memory
    cores=$(nproc)
    memory=$(awk '/MemTotal/ { print int($2 / 1024 * 0.9) }' /proc/meminfo)
    mkdir -p "$folder"/{state,spool,munge}
    chmod 755 "$folder" "$folder/munge"
    dd if=/dev/urandom of="$folder/munge/key" bs=128 count=1 status=none
    chmod 600 "$folder/munge/key"
    cat >"$SLURM_CONF" <<CONF
ClusterName=one_node
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
SlurmctldPort=16817
SlurmdPort=16818
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
JobRequeue=1
RequeueExit=137
KillWait=5
MessageTimeout=60
UnkillableStepTimeout=120
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$cores RealMemory=$memory State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
    munged --key-file="$folder/munge/key" --socket="$folder/munge/socket" --pid-file="$folder/munged.pid" \
        --log-file="$folder/munged.log" --seed-file="$folder/munge/seed" --force
    slurmctld -c -i
    slurmd -c
    for _ in $(seq 100); do
        [ "$(sinfo -h -o %T 2>/dev/null)" = idle ] && { sinfo; return; }
        sleep 0.3
    done
    echo "Slurm did not come up; its logs are in $folder" >&2
    tail -5 "$folder"/slurm*.log >&2
    exit 1
}

case $1 in
    start) start ;;
    stop) for each in slurmd slurmctld munged; do stop_one "$each"; done ;;
    *) usage ;;
esac
