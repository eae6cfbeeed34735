package config

import (
	"fmt"
	"net"
	"strconv"
)

// HTTP is where a running backupd tells its metrics. Nothing can be asked for there,
// so that it may be reached from elsewhere.
type HTTP struct {
	Listen string `yaml:"listen"` // HOST:PORT or :PORT, or empty for nowhere
}

func (h *HTTP) check(admin string, bad func(key, format string, args ...any)) {
	if h.Listen == "" {
		return
	}
	if err := checkListen(h.Listen); err != nil {
		bad("http.listen", "%v", err)
	} else if h.Listen == admin {
		bad("http.listen", "%s is admin.listen: the one can ask for recovery points and is on loopback, the other is for metrics", h.Listen)
	}
}

func checkListen(address string) error {
	_, port, err := net.SplitHostPort(address)
	if _, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil {
		return fmt.Errorf("%q is not HOST:PORT, or :PORT for all addresses of this machine", address)
	}
	return nil
}
