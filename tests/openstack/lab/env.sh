# Settings and small functions shared by the lab's scripts; sourced, never run.
# Every LAB_* variable can be set from outside; README.md lists them.
LAB_HOME="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
LAB_PROJECT="$(cd "$LAB_HOME/../../.." && pwd)"
export LAB_HOME

say() { printf '%s %s\n' "$(date +%H:%M:%S)" "$*" >&2; }
die() { say "ERROR: $*"; exit 1; }

export LAB_RELEASE="${LAB_RELEASE:-newest}"        # newest (PyPI) | zed (Debian 12's packages)
case $LAB_RELEASE in newest|zed) ;; *) die "LAB_RELEASE=$LAB_RELEASE: must be newest or zed" ;; esac
export LAB_CACHE="${LAB_CACHE:-/opt/furlough-openstack}"   # what install.sh made
export LAB_DIR="${LAB_DIR:-${CARGO_TARGET_DIR:-$LAB_PROJECT/target}/openstack/$LAB_RELEASE}"   # all state
case $LAB_DIR in /*) ;; *) LAB_DIR="$PWD/$LAB_DIR" ;; esac
export LAB_HOSTS="${LAB_HOSTS:-6}"                 # number of fake computes
export LAB_PASSWORD="${LAB_PASSWORD:-lab}"         # of every user of this throw-away cloud
export LAB_DEBUG="${LAB_DEBUG:-false}"

ETC="$LAB_DIR/etc"; RUN="$LAB_DIR/run"; LOG="$LAB_DIR/log"; VAR="$LAB_DIR/var"
VENV="$LAB_CACHE/newest"                           # also gives uwsgi and the client for Zed
ZED="$LAB_CACHE/zed"
ZED_LIB="$ZED/root/usr/lib/$(uname -m)-linux-gnu"  # libraries of the unpacked packages
if [ "$LAB_RELEASE" = newest ]; then
  PREFIX="$VENV"
else
  PREFIX="$ZED/venv"
fi
PY="$PREFIX/bin/python"
if [ "$LAB_RELEASE" = newest ]; then BIN="$VENV/bin"; else BIN="$ZED/bin"; fi

# A state directory keeps its ports for life: its catalog and its cell mapping hold them.
port_is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
choose_ports() {
  local kept='' base try p
  [ ! -s "$LAB_DIR/ports" ] || kept=$(cat "$LAB_DIR/ports")
  if [ -n "$kept" ]; then
    [ "${LAB_PORT_BASE:-$kept}" = "$kept" ] \
      || die "$LAB_DIR was made with LAB_PORT_BASE=$kept, not $LAB_PORT_BASE; use that, or down.sh --wipe first"
    LAB_PORT_BASE=$kept
  elif [ -z "${LAB_PORT_BASE:-}" ]; then
    # below the kernel's ephemeral range (32768 up); the releases start apart so that both can start at once
    base=21000; [ "$LAB_RELEASE" = newest ] || base=22000
    for ((try = base; try < base + 1000; try += 10)); do
      for ((p = try + 1; p < try + 10; p++)); do port_is_free "$p" || continue 2; done
      LAB_PORT_BASE=$try; break
    done
    [ -n "${LAB_PORT_BASE:-}" ] || die "no ten free ports from $base on; set LAB_PORT_BASE"
  fi
  export LAB_PORT_BASE
  P_MYSQL=$((LAB_PORT_BASE + 1)); P_EPMD=$((LAB_PORT_BASE + 2)); P_DIST=$((LAB_PORT_BASE + 3))
  P_AMQP=$((LAB_PORT_BASE + 4)); P_KEYSTONE=$((LAB_PORT_BASE + 5)); P_NOVA=$((LAB_PORT_BASE + 6))
  P_PLACEMENT=$((LAB_PORT_BASE + 7)); P_GLANCE=$((LAB_PORT_BASE + 8)); P_NEUTRON=$((LAB_PORT_BASE + 9))
}

# A unix socket's path holds 107 bytes, and a checkout may lie deep.
MYSQL_SOCK="$RUN/mysql.sock"
if [ ${#MYSQL_SOCK} -gt 100 ]; then
  MYSQL_SOCK="${TMPDIR:-/tmp}/furlough-$(printf %s "$LAB_DIR" | cksum | cut -d' ' -f1).sock"
  [ ${#MYSQL_SOCK} -le 100 ] || die "$MYSQL_SOCK is too long for a unix socket; set LAB_DIR or TMPDIR to a shorter path"
fi

# libraries of the unpacked Debian packages, for the Zed processes only
lab_env() { if [ "$LAB_RELEASE" = zed ]; then env LD_LIBRARY_PATH="$ZED_LIB" "$@"; else "$@"; fi; }

# pid files hold "pid starttime", so that a recycled pid is never mistaken for ours
pid_stat() { { sed 's/.*) //' "/proc/$1/stat" | cut -d' ' -f"$2"; } 2>/dev/null; }
pid_start() { pid_stat "$1" 20; }
write_pid() { printf '%s %s\n' "$2" "$(pid_start "$2")" > "$RUN/$1.pid"; }
alive() { # name: prints the pid when it runs and is ours
  local pid st
  [ -s "$RUN/$1.pid" ] || return 1
  read -r pid st < "$RUN/$1.pid"
  [ -d "/proc/$pid" ] && { [ -z "$st" ] || [ "$(pid_start "$pid")" = "$st" ]; } || return 1
  [ "$(pid_stat "$pid" 1)" != Z ] || return 1
  echo "$pid"
}
# RabbitMQ's script backgrounds the real process; its own pid file names it, also when an up.sh ended before it was known.
rabbit_runs() {
  local p; p=$(cat "$RUN/rabbit.own.pid" 2>/dev/null) && [ -n "$p" ] || return 1
  grep -qsaF -- "$VAR/rabbit" "/proc/$p/cmdline" && write_pid rabbit "$p"
}
tree() { echo "$1"; local c; for c in $(cat /proc/"$1"/task/*/children 2>/dev/null); do tree "$c"; done; }
spawn() { # name command...: detached, own session, log file, pid file
  local name=$1; shift
  alive "$name" >/dev/null && return 0
  setsid "$@" >> "$LOG/$name.log" 2>&1 < /dev/null &
  write_pid "$name" $!
}
stop_one() { # name [signal] [seconds]
  local name=$1 sig=${2:-TERM} max=${3:-20} pid i
  pid=$(alive "$name") || { rm -f "$RUN/$name.pid"; return 0; }
  # a stopped process would sit on the signal for ever
  if [ "$sig" != KILL ]; then kill -CONT "$pid" 2>/dev/null || true; fi
  kill -"$sig" "$pid" 2>/dev/null || true
  for ((i = 0; i < max * 10; i++)); do alive "$name" >/dev/null || break; sleep 0.1; done
  if alive "$name" >/dev/null; then say "$name ($pid) ignores $sig, KILL"; kill -KILL "$pid" 2>/dev/null || true; fi
  rm -f "$RUN/$name.pid"
}
wait_up() { # name port seconds: it listens; fails at once when the process is gone
  local i
  for ((i = 0; i < $3 * 10; i++)); do
    alive "$1" >/dev/null || { tail -20 "$LOG/$1.log" >&2; die "$1 died; see $LOG/$1.log"; }
    port_is_free "$2" || return 0
    sleep 0.1
  done
  die "$1: nothing listens on 127.0.0.1:$2 after $3 s; see $LOG/$1.log"
}
compute_names() { local i; for ((i = 1; i <= LAB_HOSTS; i++)); do printf 'cmp%02d\n' "$i"; done; }
