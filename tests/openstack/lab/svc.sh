#!/bin/bash
# svc.sh stop|kill|pause|resume NAME... : an outage of one control-plane process (its names: the
# *.pid files in $LAB_DIR/run, such as nova-api, keystone, conductor, rabbit). svc.sh start: up.sh,
# which starts whatever is missing.
set -euo pipefail
. "$(dirname "$0")/env.sh"
act=${1:-}; shift || true
[ "$act" != start ] || exec "$LAB_HOME/up.sh"
[ $# -ge 1 ] || die "usage: svc.sh stop|kill|pause|resume NAME..., or svc.sh start"
for n in "$@"; do
  p=$(alive "$n") || die "$n does not run"
  # shellcheck disable=SC2046,SC2086 # uwsgi: a master and its workers, one pid each
  case $act in
    stop) stop_one "$n" TERM 30 ;;
    kill) t=$(tree "$p"); kill -KILL $t; rm -f "$RUN/$n.pid" ;;
    pause) kill -STOP $(tree "$p") ;;
    resume) kill -CONT $(tree "$p") ;;
    *) die "unknown action $act" ;;
  esac
done
