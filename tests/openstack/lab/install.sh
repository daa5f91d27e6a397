#!/bin/bash
# install.sh [newest|zed|all]: what the lab needs, once for each machine; safe to run again.
#   newest: the newest OpenStack, from PyPI, into a venv
#   zed   : Debian 12's packages, downloaded and unpacked, never installed: no maintainer
#           scripts, no debconf, no systemd. Needs "newest" too (uwsgi and the client are there)
# Needs Debian or Ubuntu, and root or sudo (for apt, and to make $LAB_CACHE).
set -euo pipefail
. "$(dirname "$0")/env.sh"
what=${1:-newest}
case $what in newest|zed|all) ;; *) die "usage: install.sh [newest|zed|all]" ;; esac
export DEBIAN_FRONTEND=noninteractive
T0=$SECONDS
step() { say "$1: $((SECONDS - T0)) s since the start"; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

command -v apt-get >/dev/null || die "no apt-get here; the lab needs Debian 12 or 13, or Ubuntu 24.04 or later"
[ "$(id -u)" = 0 ] || command -v sudo >/dev/null || die "neither root nor sudo; run install.sh as root"
. /etc/os-release
if [ "$what" != newest ] && [ "${ID:-}:${VERSION_ID:-}" != debian:12 ]; then
  die "the Zed release exists as packages for Debian 12 only, and this is ${PRETTY_NAME:-unknown}." \
    "Run it on Debian 12 (a container will do), or install and test the newest release alone:" \
    "install.sh newest; cargo test --features openstack --test openstack newest::"
fi
if [ -n "$(find /var/lib/apt/lists -name '*Packages*' -print -quit 2>/dev/null)" ]; then :; else as_root apt-get update -q >/dev/null; fi

# Nova 34 needs Python 3.11. The distribution's own python is wanted, with its headers: uwsgi links it.
python_ok() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
pick_python() {
  local v
  if [ -n "${LAB_PYTHON:-}" ]; then
    python_ok "$LAB_PYTHON" || die "LAB_PYTHON=$LAB_PYTHON is not a Python 3.11 or later"
    echo "$LAB_PYTHON"; return
  fi
  if python_ok /usr/bin/python3; then readlink -f /usr/bin/python3; return; fi
  for v in 3.11 3.12 3.13; do
    if apt-cache show "python$v-venv" >/dev/null 2>&1; then echo "/usr/bin/python$v"; return; fi
  done
  die "no Python 3.11 or later in this distribution (${PRETTY_NAME:-unknown}), and Nova 34 needs one;" \
    "use Debian 12 or 13 or Ubuntu 24.04, or name one (with its headers) in LAB_PYTHON"
}
PYTHON=$(pick_python)

# ---- bus, database, compiler: from apt, but never started by it ---------------------
packages=(rabbitmq-server mariadb-server gcc libc6-dev ca-certificates)
[ -n "${LAB_PYTHON:-}" ] || packages+=("$(basename "$PYTHON")-venv" "$(basename "$PYTHON")-dev")
need=()
for p in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || need+=("$p")
done
if [ ${#need[@]} -gt 0 ]; then
  say "apt-get install ${need[*]}"
  policy=/usr/sbin/policy-rc.d made=0 log=$(mktemp)
  if [ ! -e $policy ]; then
    made=1; printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null; as_root chmod +x $policy
    trap 'as_root rm -f "$policy"' EXIT
  fi
  as_root apt-get update -q > "$log" 2>&1 || { tail -20 "$log" >&2; die "apt-get update failed"; }
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${need[@]}" > "$log" 2>&1 \
    || { tail -20 "$log" >&2; die "apt-get install failed; the whole output is in $log"; }
  rm -f "$log"
  if [ $made = 1 ]; then as_root rm -f $policy; trap - EXIT; fi
fi
step "apt (rabbitmq, mariadb)"

if [ ! -w "$LAB_CACHE" ]; then
  mkdir -p "$LAB_CACHE" 2>/dev/null || as_root mkdir -p "$LAB_CACHE"
  [ -w "$LAB_CACHE" ] || as_root chown "$(id -u):$(id -g)" "$LAB_CACHE"
fi

# ---- OpenStack from PyPI ----------------------------------------------------------------
# made again when the constraints or the python change
mark="$("$PYTHON" -V) $(cksum < "$LAB_HOME/constraints.txt")"
if [ "$(cat "$VENV/.done" 2>/dev/null)" != "$mark" ]; then
  rm -rf "$VENV"
  "$PYTHON" -m venv "$VENV"
  # constraints.txt: the set this lab was last tried with; LAB_LATEST=1 takes what PyPI has today
  c=(-c "$LAB_HOME/constraints.txt"); [ -z "${LAB_LATEST:-}" ] || c=()
  "$VENV/bin/python" -m pip install -q "${c[@]}" -U pip setuptools wheel
  # fixtures: nova.virt.fake imports it, but Nova does not require it
  "$VENV/bin/pip" install -q "${c[@]}" nova keystone openstack-placement glance \
    python-openstackclient python-novaclient PyMySQL fixtures uwsgi
  echo "$mark" > "$VENV/.done"
fi
step "pip (OpenStack from PyPI)"
[ "$what" != newest ] || exit 0

# ---- Debian's Zed --------------------------------------------------------------------------
if [ ! -f "$ZED/.done" ]; then
  rm -rf "$ZED"
  mkdir -p "$ZED/debs" "$ZED/root" "$ZED/bin"
  apt-get install -s --no-install-recommends python3-nova python3-keystone python3-placement python3-glance \
    > "$ZED/simulation.log" 2>&1 || { tail "$ZED/simulation.log" >&2; die "apt cannot resolve the Zed packages; apt-get update?"; }
  awk '/^Inst/{print $2}' "$ZED/simulation.log" > "$ZED/list.txt"
  printf '%s\n' nova-common glance-common >> "$ZED/list.txt"   # api-paste.ini
  ( cd "$ZED/debs" && sort -u ../list.txt | xargs apt-get download -q -o APT::Sandbox::User="$(id -un)" > ../download.log 2>&1 ) \
    || { tail "$ZED/download.log" >&2; die "download of the Zed packages failed; apt-get update and try again"; }
  for d in "$ZED"/debs/*.deb; do dpkg-deb -x "$d" "$ZED/root"; done
  rm -rf "$ZED/debs"
  dp="$ZED/root/usr/lib/python3/dist-packages"
  /usr/bin/python3.11 -m venv --without-pip --system-site-packages "$ZED/venv"
  echo "import site; site.addsitedir('$dp')" > "$ZED/venv/lib/python3.11/site-packages/zed.pth"
  # a few of the packages' template files are no Python; what does not compile is not imported either
  "$ZED/venv/bin/python" -m compileall -q -j 2 -x '/tests?/' "$dp" > "$ZED/compile.log" 2>&1 || true
  while read -r name mod; do
    printf '#!/bin/sh\nexport LD_LIBRARY_PATH=%s\nexec %s -c "import sys; sys.argv[0] = %s; from %s import main; sys.exit(main())" "$@"\n' \
      "$ZED_LIB" "$ZED/venv/bin/python" "'$name'" "$mod" > "$ZED/bin/$name"
    chmod +x "$ZED/bin/$name"
  done <<X
nova-manage nova.cmd.manage
nova-conductor nova.cmd.conductor
nova-scheduler nova.cmd.scheduler
nova-api-os-compute nova.cmd.api_os_compute
keystone-manage keystone.cmd.manage
placement-manage placement.cmd.manage
glance-manage glance.cmd.manage
X
  touch "$ZED/.done"
fi
step "Zed (Debian's packages)"
