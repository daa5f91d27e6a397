#!/bin/bash
# Write every configuration file under $LAB_DIR/etc (called by up.sh).
set -euo pipefail
. "$(dirname "$0")/env.sh"
choose_ports
mkdir -p "$ETC"/{nova,keystone,placement,glance,rabbit} "$RUN" "$LOG" "$VAR"/{locks,nova,glance,images,keystone,mysql-tmp}
KS="http://127.0.0.1:$P_KEYSTONE/v3"
db() { echo "mysql+pymysql://lab:$LAB_PASSWORD@127.0.0.1:$P_MYSQL/$1?charset=utf8"; }
RABBIT="rabbit://guest:guest@127.0.0.1:$P_AMQP/"
auth() { # username: a keystoneauth section body
cat <<X
auth_type = password
auth_url = $KS
username = $1
password = $LAB_PASSWORD
project_name = service
user_domain_name = Default
project_domain_name = Default
region_name = RegionOne
X
}
authtoken() {
cat <<X
[keystone_authtoken]
$(auth "$1")
www_authenticate_uri = $KS
# in the process: without it each call asks Keystone again; short, so that a token that
# was revoked is refused soon
token_cache_time = 5
service_token_roles = service
service_token_roles_required = true
X
}

# ---- MariaDB: throw-away data, so no fsync at all (loose: MariaDB 11 drops some of these)
cat > "$ETC/my.cnf" <<X
[mysqld]
datadir = $VAR/mysql
socket = $MYSQL_SOCK
# its own: a MariaDB that starts removes the temporary tables it finds there, also another one's
tmpdir = $VAR/mysql-tmp
pid-file = $RUN/mysql.own.pid
bind-address = 127.0.0.1
port = $P_MYSQL
skip-name-resolve
skip-log-bin
max_connections = 600
innodb_buffer_pool_size = 192M
loose-innodb_log_file_size = 64M
innodb_flush_log_at_trx_commit = 0
loose-innodb_flush_method = nosync
loose-innodb_doublewrite = 0
loose-innodb_file_per_table = 0
performance_schema = OFF
character-set-server = utf8mb3
X

# ---- RabbitMQ ------------------------------------------------------------------
cat > "$ETC/rabbit/rabbitmq.conf" <<X
listeners.tcp.1 = 127.0.0.1:$P_AMQP
distribution.listener.interface = 127.0.0.1
distribution.listener.port_range.min = $P_DIST
distribution.listener.port_range.max = $P_DIST
log.file.level = warning
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 50MB
X
echo '[].' > "$ETC/rabbit/enabled_plugins"

# ---- Keystone ---------------------------------------------------------------------
cat > "$ETC/keystone/keystone.conf" <<X
[DEFAULT]
debug = $LAB_DEBUG
use_stderr = true
public_endpoint = http://127.0.0.1:$P_KEYSTONE/
[database]
connection = $(db keystone)
[token]
provider = fernet
expiration = ${LAB_TOKEN_SECONDS:-14400}
[fernet_tokens]
key_repository = $VAR/keystone/fernet
max_active_keys = 3
[fernet_receipts]
key_repository = $VAR/keystone/fernet
[credential]
key_repository = $VAR/keystone/credential
# argon/bcrypt at full strength costs 0.3 s of CPU for each password login
[identity]
password_hash_rounds = 4
[cache]
enabled = true
backend = oslo_cache.dict
[oslo_messaging_notifications]
driver = noop
X

# ---- Placement ------------------------------------------------------------------------
cat > "$ETC/placement/placement.conf" <<X
[DEFAULT]
debug = $LAB_DEBUG
use_stderr = true
[wsgi]
api_paste_config = $ETC/nova/api-paste.ini
[api]
auth_strategy = keystone
[placement_database]
connection = $(db placement)
$(authtoken placement)
X

# ---- Glance ------------------------------------------------------------------------------
cat > "$ETC/glance/glance-api.conf" <<X
[DEFAULT]
debug = $LAB_DEBUG
use_stderr = true
enabled_backends = file:file
enabled_import_methods = []
[database]
connection = $(db glance)
[glance_store]
default_backend = file
[file]
filesystem_store_datadir = $VAR/images
[os_glance_tasks_store]
filesystem_store_datadir = $VAR/glance/tasks
[os_glance_staging_store]
filesystem_store_datadir = $VAR/glance/staging
[paste_deploy]
flavor = keystone
config_file = $ETC/glance/glance-api-paste.ini
[oslo_concurrency]
lock_path = $VAR/locks
[oslo_messaging_notifications]
driver = noop
$(authtoken glance)
X
mkdir -p "$VAR/glance/tasks" "$VAR/glance/staging"

# ---- Nova: one file for API, scheduler, conductor and, with compute-*.conf, computes
cat > "$ETC/nova/nova.conf" <<X
[DEFAULT]
debug = $LAB_DEBUG
use_stderr = true
host = ctl
my_ip = 127.0.0.1
state_path = $VAR/nova
instances_path = $VAR/nova/instances
transport_url = $RABBIT
rpc_response_timeout = 60
# liveness: a killed compute shows as "down" after service_down_time
report_interval = ${LAB_REPORT_INTERVAL:-3}
service_down_time = ${LAB_DOWN_TIME:-12}
# nova 34: a SIGTERM waits for running tasks, up to 160 s of 180 s
graceful_shutdown_timeout = 10
$( [ "$LAB_RELEASE" = zed ] || echo manager_shutdown_timeout = 0 )
# fewer periodic tasks: with N computes on 2 cores they add up
update_resources_interval = ${LAB_RESOURCES_INTERVAL:-30}
sync_power_state_interval = 600
heal_instance_info_cache_interval = -1
running_deleted_instance_action = noop
instance_usage_audit = false
resize_confirm_window = 0
# the default 1 makes every further live migration from a host wait ("queued")
max_concurrent_live_migrations = ${LAB_MAX_LIVE:-1}
cpu_allocation_ratio = 4.0
ram_allocation_ratio = 1.0
disk_allocation_ratio = 1.0
reserved_host_memory_mb = 0
vif_plugging_is_fatal = false
vif_plugging_timeout = 0
compute_driver = labdriver.LabDriver
# Zed only: nova-api is its own (eventlet) HTTP server there
enabled_apis = osapi_compute
osapi_compute_listen = 127.0.0.1
osapi_compute_listen_port = $P_NOVA
osapi_compute_workers = 1
metadata_workers = 1
allow_resize_to_same_host = false
[lab]
faults_file = $LAB_DIR/faults.json
live_seconds = ${LAB_LIVE_SECONDS:-1}
[api]
auth_strategy = keystone
[conductor]
workers = 1
[scheduler]
workers = 1
max_attempts = 3
# new computes join by themselves (nova-manage discover_hosts takes 5 s to start)
discover_hosts_in_cells_interval = ${LAB_DISCOVER_INTERVAL:-3}
[filter_scheduler]
enabled_filters = ComputeFilter,ComputeCapabilitiesFilter,ImagePropertiesFilter,ServerGroupAntiAffinityFilter,ServerGroupAffinityFilter,DifferentHostFilter,SameHostFilter,AggregateInstanceExtraSpecsFilter
host_subset_size = 1
shuffle_best_same_weighed_hosts = true
[quota]
instances = -1
cores = -1
ram = -1
server_groups = -1
server_group_members = -1
metadata_items = 128
[glance]
$(auth nova)
endpoint_override = http://127.0.0.1:$P_GLANCE
num_retries = 1
[placement]
$(auth placement)
[neutron]
$(auth neutron)
endpoint_override = http://127.0.0.1:$P_NEUTRON
http_retries = 1
[service_user]
send_service_user_token = true
$(auth nova)
[cinder]
$(auth nova)
[barbican]
auth_endpoint = $KS
[vnc]
enabled = false
[spice]
enabled = false
[libvirt]
images_type = raw
[oslo_concurrency]
lock_path = $VAR/locks
[oslo_messaging_notifications]
driver = noop
[notifications]
notification_format = unversioned
[oslo_messaging_rabbit]
heartbeat_timeout_threshold = 60
[upgrade_levels]
compute = auto
$(authtoken nova)
X
# nova-compute must not see the databases: with [api_database] set, the automatic
# RPC pin asks the API database and logs "No DB access allowed in nova-compute"
cat > "$ETC/nova/nova-db.conf" <<X
[api_database]
connection = $(db nova_api)
[database]
connection = $(db nova_cell1)
max_pool_size = 10
max_overflow = 20
X
# without this the first look for new hosts comes after a random 0..60 s
cat > "$ETC/nova/nova-scheduler.conf" <<X
[DEFAULT]
periodic_fuzzy_delay = 0
X
for h in $(compute_names); do
  mkdir -p "$VAR/nova-$h"
  cat > "$ETC/nova/compute-$h.conf" <<X
[DEFAULT]
host = $h
state_path = $VAR/nova-$h
instances_path = $VAR/nova-$h/instances
[oslo_concurrency]
lock_path = $VAR/nova-$h
X
done

# ---- paste files and policy come with the packages -------------------------------------------
if [ "$LAB_RELEASE" = newest ]; then
  cp "$VENV/etc/nova/api-paste.ini" "$ETC/nova/"
  cp "$VENV/etc/glance/glance-api-paste.ini" "$ETC/glance/"
else
  cp "$ZED/root/usr/share/nova-common/api-paste.ini" "$ETC/nova/"
  cp "$ZED/root/usr/share/glance-common/glance-api-paste.ini" "$ETC/glance/"
fi

# ---- client -------------------------------------------------------------------------------------
cloud() { # name user project extra
cat <<X
  $1:
    auth:
      auth_url: $KS
      username: $2
      password: $LAB_PASSWORD
      project_name: $3
      user_domain_name: Default
      project_domain_name: Default
    region_name: RegionOne
    identity_api_version: 3
    interface: public
X
}
{ echo "clouds:"; cloud lab admin admin; cloud lab-demo demo demo; cloud lab-demo-admin admin demo; cloud lab-reader reader demo; } > "$LAB_DIR/clouds.yaml"
