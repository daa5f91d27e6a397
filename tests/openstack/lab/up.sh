#!/bin/bash
# Start the whole lab on 127.0.0.1; state under $LAB_DIR. Safe to run again: what already
# runs is left alone, what died is started, hosts that are missing are added.
set -euo pipefail
. "$(dirname "$0")/env.sh"
umask 022
MARK="$VENV/.done"; [ "$LAB_RELEASE" = newest ] || MARK="$ZED/.done"
{ [ -f "$MARK" ] && [ -f "$VENV/.done" ]; } || die "the $LAB_RELEASE release is not installed in $LAB_CACHE; run $LAB_HOME/install.sh $LAB_RELEASE"
choose_ports
mkdir -p "$LAB_DIR" "$RUN" "$LOG" "$VAR"
echo "$LAB_PORT_BASE" > "$LAB_DIR/ports"
begun=${EPOCHREALTIME//[.,]/}; last=$begun
lap() { # what: how long since the last one
  local t=${EPOCHREALTIME//[.,]/} d; d=$(((t - last) / 100000)); last=$t
  printf '%-24s %4d.%d s\n' "$1" $((d / 10)) $((d % 10)) | tee -a "$LOG/timing.txt" >&2
}
echo "-- up $(date -Is) release=$LAB_RELEASE hosts=$LAB_HOSTS ports=$LAB_PORT_BASE" >> "$LOG/timing.txt"
"$LAB_HOME/mkconf.sh"
export OS_NOVA_CONFIG_DIR="$ETC/nova" OS_NOVA_CONFIG_FILES="api-paste.ini;nova.conf;nova-db.conf" \
  OS_KEYSTONE_CONFIG_DIR="$ETC/keystone" OS_PLACEMENT_CONFIG_DIR="$ETC/placement" OS_GLANCE_CONFIG_DIR="$ETC/glance"
export PYTHONUNBUFFERED=1
until_ok() { # what seconds command...
  local what=$1 i max=$(($2 * 5)); shift 2
  for ((i = 0; i < max; i++)); do "$@" && return 0; sleep 0.2; done
  die "$what: not after $((max / 5)) s; see $LOG"
}

# ---- message bus (started first: it boots while the databases are made) -------
mkdir -p "$VAR/rabbit/mnesia"
ERL_BIN=$(ls -d /usr/lib/erlang/erts-*/bin | tail -1)
( export HOME="$VAR/rabbit" RABBITMQ_HOME=/usr/lib/rabbitmq RABBITMQ_NODENAME="furlough$LAB_PORT_BASE@localhost" \
    RABBITMQ_CONFIG_FILE="$ETC/rabbit/rabbitmq" RABBITMQ_MNESIA_BASE="$VAR/rabbit/mnesia" \
    RABBITMQ_LOG_BASE="$LOG" RABBITMQ_PID_FILE="$RUN/rabbit.own.pid" RABBITMQ_DIST_PORT="$P_DIST" \
    RABBITMQ_ENABLED_PLUGINS_FILE="$ETC/rabbit/enabled_plugins" RABBITMQ_CONF_ENV_FILE=/dev/null \
    RABBITMQ_FEATURE_FLAGS_FILE="$VAR/rabbit/feature_flags" RABBITMQ_NODE_IP_ADDRESS= RABBITMQ_NODE_PORT= \
    ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT="$P_EPMD" \
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"
  spawn epmd "$ERL_BIN/epmd" -address 127.0.0.1 -port "$P_EPMD"
  wait_up epmd "$P_EPMD" 20
  alive rabbit >/dev/null || rabbit_runs || { rm -f "$RUN/rabbit.own.pid"; spawn rabbit-sh /usr/lib/rabbitmq/bin/rabbitmq-server; } )

# ---- database --------------------------------------------------------------------
ME=$(id -un)
if [ ! -f "$VAR/mysql.done" ]; then
  rm -rf "$VAR/mysql" "$VAR/schema.done"
  mkdir -p "$VAR/mysql"
  mariadb-install-db --defaults-file="$ETC/my.cnf" --user="$ME" --auth-root-authentication-method=socket \
    --skip-test-db > "$LOG/mariadb-install.log" 2>&1 || { cat "$LOG/mariadb-install.log" >&2; die "mariadb-install-db failed"; }
  touch "$VAR/mysql.done"
fi
spawn mariadb /usr/sbin/mariadbd --defaults-file="$ETC/my.cnf" --user="$ME"
wait_up mariadb "$P_MYSQL" 120
sql() { mariadb --defaults-file=/dev/null -u "$ME" -S "$MYSQL_SOCK" "$@"; }
sql_answers() { sql -e 'select 1' >/dev/null 2>&1; }
until_ok "mariadb answers" 60 sql_answers
lap "mariadb"

# ---- schemas, two chains at a time ----------------------------------------------------
run_log() { # name command...
  local n=$1; shift
  "$@" >> "$LOG/setup-$n.log" 2>&1 || { tail -20 "$LOG/setup-$n.log" >&2; die "$n failed: $*"; }
}
NC=(--config-file "$ETC/nova/nova.conf" --config-file "$ETC/nova/nova-db.conf")
NM=("$BIN/nova-manage" "${NC[@]}")
chain_a() { # keystone, then glance
  local g; g=$(id -gn)
  local km=("$BIN/keystone-manage" --config-file "$ETC/keystone/keystone.conf") url="http://127.0.0.1:$P_KEYSTONE/v3"
  run_log keystone "${km[@]}" db_sync
  run_log keystone "${km[@]}" fernet_setup --keystone-user "$ME" --keystone-group "$g"
  run_log keystone "${km[@]}" credential_setup --keystone-user "$ME" --keystone-group "$g"
  run_log keystone "${km[@]}" bootstrap --bootstrap-password "$LAB_PASSWORD" --bootstrap-region-id RegionOne \
    --bootstrap-public-url "$url" --bootstrap-internal-url "$url" --bootstrap-admin-url "$url"
  run_log glance "$BIN/glance-manage" --config-file "$ETC/glance/glance-api.conf" db_sync
}
chain_b() { # nova, then placement
  run_log nova "${NM[@]}" api_db sync
  # the cells before "db sync": it walks them
  run_log nova "${NM[@]}" cell_v2 map_cell0 --database_connection \
    "mysql+pymysql://lab:$LAB_PASSWORD@127.0.0.1:$P_MYSQL/nova_cell0?charset=utf8"
  run_log nova "${NM[@]}" cell_v2 create_cell --name cell1
  run_log nova "${NM[@]}" db sync
  run_log placement "$BIN/placement-manage" --config-file "$ETC/placement/placement.conf" db sync
}
if [ ! -f "$VAR/schema.done" ]; then
  # a start that was cut off half way leaves half a schema: begin afresh
  { echo "CREATE USER IF NOT EXISTS 'lab'@'127.0.0.1' IDENTIFIED BY '$LAB_PASSWORD';"
    echo "GRANT ALL ON *.* TO 'lab'@'127.0.0.1';"
    for d in keystone placement glance nova_api nova_cell0 nova_cell1; do
      echo "DROP DATABASE IF EXISTS $d; CREATE DATABASE $d;"
    done; } | sql
  rm -rf "$VAR/keystone"
  ( umask 077; mkdir -p "$VAR/keystone/fernet" "$VAR/keystone/credential" )
  chain_a & A=$!
  chain_b & B=$!
  wait $A; wait $B
  touch "$VAR/schema.done"
  lap "schemas"
fi

# ---- HTTP services ---------------------------------------------------------------------
# libraries of the unpacked packages, for Zed
ZED_ENV=(); [ "$LAB_RELEASE" = newest ] || ZED_ENV=(env LD_LIBRARY_PATH="$ZED_LIB")
serve() { # name port threads module-or-file
  local how=(--module "$4")
  case $4 in */*) how=(--wsgi-file "$4") ;; esac
  # without "Connection: close" a client that reuses connections gets ECONNRESET from --http-socket
  spawn "$1" "${ZED_ENV[@]}" "$VENV/bin/uwsgi" -H "$PREFIX" --http-socket "127.0.0.1:$2" --master --processes 1 --threads "$3" \
    --enable-threads --lazy-apps --need-app --die-on-term --buffer-size 65535 \
    --listen 100 --thunder-lock --worker-reload-mercy 5 --reload-mercy 5 \
    --add-header "Connection: close" --disable-logging --procname-prefix "lab-$1 " "${how[@]}"
}
if [ "$LAB_RELEASE" = newest ]; then
  M_KEYSTONE=keystone.wsgi.api:application M_PLACEMENT=placement.wsgi.api:application
  M_GLANCE=glance.wsgi.api:application
else
  W="$LAB_HOME/wsgi"
  M_KEYSTONE=$W/zed_keystone.py M_PLACEMENT=$W/zed_placement.py M_GLANCE=$W/zed_glance.py
fi
serve keystone "$P_KEYSTONE" 4 "$M_KEYSTONE"
wait_up keystone "$P_KEYSTONE" 120
run_log bootstrap "$VENV/bin/python" "$LAB_HOME/bootstrap.py" "$P_KEYSTONE" "$P_NOVA" "$P_PLACEMENT" "$P_GLANCE" "$P_NEUTRON"
lap "keystone, catalog"
alive rabbit >/dev/null || until_ok "rabbit starts" 120 rabbit_runs
wait_up rabbit "$P_AMQP" 180
spawn conductor "$BIN/nova-conductor" "${NC[@]}"
serve placement "$P_PLACEMENT" 4 "$M_PLACEMENT"
# shellcheck disable=SC2046 # host names hold no space
"$LAB_HOME/compute.sh" start $(compute_names) & COMPUTES=$!
spawn scheduler "$BIN/nova-scheduler" "${NC[@]}" --config-file "$ETC/nova/nova-scheduler.conf"
serve glance "$P_GLANCE" 2 "$M_GLANCE"
spawn neutron "$PY" "$LAB_HOME/netstub.py" "$P_NEUTRON"
if [ "$LAB_RELEASE" = newest ]; then
  serve nova-api "$P_NOVA" 8 nova.wsgi.osapi_compute:application
else
  # Zed's is its own server: code monkey-patched by eventlet does not go with uwsgi's threads
  spawn nova-api "$BIN/nova-api-os-compute" "${NC[@]}"
fi
wait_up placement "$P_PLACEMENT" 120
wait_up glance "$P_GLANCE" 120
wait_up neutron "$P_NEUTRON" 60
wait_up nova-api "$P_NOVA" 180
lap "bus, APIs"
wait $COMPUTES
lap "computes"
at_least() { [ "$(sql -N -e "$1")" -ge "$LAB_HOSTS" ]; }
until_ok "compute nodes" 240 at_least "select count(*) from nova_cell1.compute_nodes where deleted=0"
until_ok "hosts in the cell" 240 at_least "select count(*) from nova_api.host_mappings"
until_ok "computes reporting" 240 at_least "select count(*) from nova_cell1.services where \`binary\`='nova-compute' and deleted=0
  and last_seen_up > utc_timestamp() - interval ${LAB_REPORT_INTERVAL:-3} + 2 second"
alive conductor >/dev/null && alive scheduler >/dev/null || die "conductor or scheduler died; see $LOG"
lap "hosts report"
say "up: OS_CLIENT_CONFIG_FILE=$LAB_DIR/clouds.yaml OS_CLOUD=lab $VENV/bin/openstack compute service list"
