#!/bin/bash
# Stop what up.sh started (by pid file: pid and start time). --wipe removes the state too, but the logs.
set -euo pipefail
. "$(dirname "$0")/env.sh"
[ -d "$RUN" ] || exit 0
shopt -s nullglob
# computes: KILL is enough, their guests are a JSON file
for f in "$RUN"/compute-*.pid; do stop_one "$(basename "$f" .pid)" KILL 5; done
for n in scheduler conductor nova-api neutron glance placement keystone; do stop_one "$n" TERM 15 & done; wait
alive rabbit >/dev/null || rabbit_runs || true
stop_one rabbit TERM 60
stop_one rabbit-sh TERM 5
stop_one epmd TERM 5
stop_one mariadb TERM 30
left=()
for f in "$RUN"/*.pid; do
  n=$(basename "$f" .pid)
  case $n in *.own) ;; *) if alive "$n" >/dev/null; then left+=("$n"); fi ;; esac
done
[ ${#left[@]} = 0 ] || die "still running: ${left[*]} (pid files in $RUN)"
if [ "${1:-}" = --wipe ]; then
  rm -f "$MYSQL_SOCK"
  rm -rf "$ETC" "$RUN" "$VAR" "$LAB_DIR"/{ports,faults.json,clouds.yaml}
fi
