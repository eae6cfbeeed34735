package cli

import (
	"fmt"
	"os"
	"os/user"

	"github.com/offsite-kafka/offsite/internal/manifest"
)

// Agent says who this process is, for the log: program and what it does, such as
// "point delete", or nothing.
func (g *Globals) Agent(program, doing string) manifest.Agent {
	host, _ := os.Hostname() // information only
	a := manifest.Agent{Program: program + " " + Version, Host: host}
	if doing != "" {
		a.Program += " " + doing
	}
	if s := g.Config.Kafka.SASL; s != nil {
		a.Principal = s.Username
	} else {
		a.Principal = manifest.OSUser + osUser()
	}
	return a
}

// osUser is who runs this process; in a container nobody may have given it a name.
func osUser() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return fmt.Sprint(os.Getuid())
}
