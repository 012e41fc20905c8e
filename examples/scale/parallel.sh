#!/usr/bin/env bash
# Many clips on one machine, or over ssh, by GNU parallel: each job takes one shard.
#   examples/scale/parallel.sh IN OUT SHARDS [OPTION OF parallel...]      for example: --sshloginfile machines --workdir .
set -euo pipefail
in=$1 out=$2 shards=$3
shift 3
seq "$shards" | parallel --halt soon,fail=20% "$@" \
  engine translate "$in" -o "$out" --shard "{}/$shards" --resume --retries 1 --quiet --threads "${THREADS:-1}"
