package cluster

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// controllerListener carries the Raft traffic between the brokers.
const controllerListener = "CONTROLLER"

// properties returns the server.properties of broker b.
func (c *Cluster) properties(b *broker) map[string]string {
	p := c.clusterProperties()
	p["node.id"] = strconv.Itoa(b.id)
	p["log.dirs"] = b.dataDir()
	listeners := []string{controllerListener + "://" + b.controller.Addr()}
	advertised := []string{}
	for _, l := range c.options.Listeners {
		at := string(l) + "://" + b.ports[l].Addr()
		listeners = append(listeners, at)
		advertised = append(advertised, at)
	}
	p["listeners"] = strings.Join(listeners, ",")
	p["advertised.listeners"] = strings.Join(advertised, ",")
	if c.options.has(TLS, MTLS, SASLTLS) {
		p["ssl.keystore.type"] = "PEM"
		p["ssl.keystore.location"] = b.keystore
		p["ssl.truststore.type"] = "PEM"
		p["ssl.truststore.location"] = c.authority.CertFile()
		p["listener.name.mtls.ssl.client.auth"] = "required"
	}
	if c.options.has(SASL, SASLTLS) {
		p["sasl.enabled.mechanisms"] = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"
		c.addLoginModules(p)
	}
	maps.Copy(p, c.options.Properties)
	return p
}

// clusterProperties returns what is the same on all brokers.
func (c *Cluster) clusterProperties() map[string]string {
	size := len(c.brokers)
	inSync := strconv.Itoa(min(size, 2))
	replicas := strconv.Itoa(size)
	p := map[string]string{
		"process.roles":                  "broker,controller",
		"controller.listener.names":      controllerListener,
		"controller.quorum.voters":       c.voters(),
		"inter.broker.listener.name":     string(Plaintext),
		"listener.security.protocol.map": c.protocolMap(),

		// A killed broker's registration lasts until its session ends, and the broker cannot come back before.
		"broker.heartbeat.interval.ms": "500",
		"broker.session.timeout.ms":    "3000",

		"auto.create.topics.enable":        "false",
		"default.replication.factor":       replicas,
		"group.initial.rebalance.delay.ms": "0",

		"offsets.topic.replication.factor":                 replicas,
		"offsets.topic.num.partitions":                     "4",
		"transaction.state.log.replication.factor":         replicas,
		"transaction.state.log.min.isr":                    inSync,
		"transaction.state.log.num.partitions":             "4",
		"share.coordinator.state.topic.replication.factor": replicas,
		"share.coordinator.state.topic.min.isr":            inSync,
		"share.coordinator.state.topic.num.partitions":     "4",

		// The default of 128 MiB is a third of the heap.
		"log.cleaner.dedupe.buffer.size": "16777216",
	}
	if c.options.Authorizer {
		p["authorizer.class.name"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
		p["super.users"] = strings.Join(append([]string{"User:ANONYMOUS"}, c.options.SuperUsers...), ";")
	}
	return p
}

func (c *Cluster) voters() string {
	var voters []string
	for _, b := range c.brokers {
		voters = append(voters, fmt.Sprintf("%d@%s", b.id, b.controller.Addr()))
	}
	return strings.Join(voters, ",")
}

func (c *Cluster) protocolMap() string {
	entries := []string{controllerListener + ":PLAINTEXT"}
	for _, l := range c.options.Listeners {
		entries = append(entries, string(l)+":"+protocols[l])
	}
	return strings.Join(entries, ",")
}

// addLoginModules names the module of each mechanism on each SASL listener. PLAIN has its users there; those of SCRAM
// are created in the running cluster.
func (c *Cluster) addLoginModules(p map[string]string) {
	plain := "org.apache.kafka.common.security.plain.PlainLoginModule required"
	for _, u := range c.options.Users {
		plain += fmt.Sprintf(" user_%s=\"%s\"", u.Name, u.Password)
	}
	const scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
	for _, listener := range []string{"sasl", "sasltls"} {
		prefix := "listener.name." + listener + "."
		p[prefix+"plain.sasl.jaas.config"] = plain + ";"
		p[prefix+"scram-sha-256.sasl.jaas.config"] = scram
		p[prefix+"scram-sha-512.sasl.jaas.config"] = scram
	}
}

// encodeProperties writes the format that java.util.Properties reads.
func encodeProperties(p map[string]string) []byte {
	var text strings.Builder
	escape := strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	for _, key := range slices.Sorted(maps.Keys(p)) {
		fmt.Fprintf(&text, "%s=%s\n", key, escape.Replace(p[key]))
	}
	return []byte(text.String())
}
