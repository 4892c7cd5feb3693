#!/bin/sh
# Settings as in the public Kafka image: KAFKA_ADVERTISED_LISTENERS is advertised.listeners, `__` is `_`,
# `___` is `-`. Without any, one KRaft node listens on 9092, and calls itself by its host's name.
set -eu
data=${KAFKA_LOG_DIRS:-/var/lib/kafka/data}
config=${TMPDIR:-/tmp}/server.properties
{
  cat <<DEFAULTS
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
advertised.listeners=PLAINTEXT://$(hostname):9092
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=$data
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
DEFAULTS
  # A later line wins.
  env | grep '^KAFKA_' | grep -Ev '^KAFKA_(HEAP_OPTS|OPTS|LOG4J_OPTS|JVM_PERFORMANCE_OPTS|LOG_DIRS)=' |
    while IFS='=' read -r name value; do
      key=$(printf %s "${name#KAFKA_}" | sed 's/___/-/g; s/__/%/g; s/_/./g; s/%/_/g' | tr '[:upper:]' '[:lower:]')
      printf '%s=%s\n' "$key" "$value"
    done
} >"$config"
run() { java ${KAFKA_HEAP_OPTS:--Xmx512m} ${KAFKA_OPTS:-} -XX:TieredStopAtLevel=1 -cp '/opt/kafka/libs/*' "$@"; }
[ -e "$data/meta.properties" ] || run kafka.tools.StorageTool format --ignore-formatted -t "${CLUSTER_ID:-5L6g3nShT-eMCtK--X86sw}" -c "$config"
exec java ${KAFKA_HEAP_OPTS:--Xmx512m} ${KAFKA_OPTS:-} -XX:TieredStopAtLevel=1 -cp '/opt/kafka/libs/*' kafka.Kafka "$config"
