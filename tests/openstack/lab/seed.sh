#!/bin/bash
# Flavors, image, aggregates (rack1/rack2, az1/az2), server groups, servers: see seed.py
set -euo pipefail
. "$(dirname "$0")/env.sh"
[ -f "$LAB_DIR/clouds.yaml" ] || die "no lab in $LAB_DIR; run up.sh first"
exec "$VENV/bin/python" "$LAB_HOME/seed.py" "$@"
