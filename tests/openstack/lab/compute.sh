#!/bin/bash
# compute.sh start|stop|kill|pause|resume|restart|heal HOST... : the fake nova-computes
#   stop = SIGTERM (the service goes on being "up" until it ages out)
#   kill = SIGKILL (a crashed host); pause, resume = SIGSTOP, SIGCONT (a hung host)
#   heal = resume those that run and print those that do not
set -euo pipefail
. "$(dirname "$0")/env.sh"
[ $# -ge 2 ] || die "usage: compute.sh start|stop|kill|pause|resume|restart|heal HOST..."
act=$1; shift
running() { alive "compute-$1" || die "compute $1 does not run"; }
case $act in
  start)
    choose_ports
    todo=(); for h in "$@"; do alive "compute-$h" >/dev/null || todo+=("$h"); done
    [ ${#todo[@]} -gt 0 ] || exit 0
    for h in "${todo[@]}"; do [ -f "$ETC/nova/compute-$h.conf" ] || die "no host $h in this lab (up.sh with a larger LAB_HOSTS adds some)"; done
    LAB_AMQP="amqp://guest:guest@127.0.0.1:$P_AMQP//" PYTHONPATH='' lab_env "$PY" "$LAB_HOME/labcompute.py" \
      "$ETC/nova" "$RUN" "$LOG" "${todo[@]}" > "$LOG/labcompute.log" 2>&1 \
      || { tail -20 "$LOG/labcompute.log" >&2; die "labcompute.py failed"; }
    for h in "${todo[@]}"; do alive "compute-$h" >/dev/null || die "compute $h died; see $LOG/compute-$h.out"; done ;;
  stop) for h in "$@"; do stop_one "compute-$h" TERM 30; done ;;
  kill) for h in "$@"; do stop_one "compute-$h" KILL 5; done ;;
  pause) for h in "$@"; do p=$(running "$h"); kill -STOP "$p"; done ;;
  resume) for h in "$@"; do p=$(running "$h"); kill -CONT "$p"; done ;;
  heal) for h in "$@"; do if p=$(alive "compute-$h"); then kill -CONT "$p"; else echo "$h"; fi; done ;;
  restart) "$0" stop "$@"; "$0" start "$@" ;;
  *) die "unknown action $act" ;;
esac
