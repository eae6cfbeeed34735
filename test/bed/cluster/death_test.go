//go:build e2e && linux

package cluster_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/test/bed/cluster"
)

const parentRole = "CLUSTER_TEST_PARENT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(parentRole); dir != "" {
		beParent(dir)
		return
	}
	os.Exit(m.Run())
}

// beParent is the process that gets killed: it starts a broker, tells its process id and waits.
func beParent(dir string) {
	c, err := cluster.Up(context.Background(), dir, cluster.Options{})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(c.PID(0))
	time.Sleep(time.Hour)
}

func TestBrokerDiesWithKilledTest(t *testing.T) {
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), parentRole+"="+t.TempDir())
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	defer parent.Process.Kill()
	line, _ := bufio.NewReader(out).ReadString('\n')
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("the parent did not start a broker: %s", line)
	}
	if !running(pid) {
		t.Fatalf("broker process %d does not run before its parent is killed", pid)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	parent.Wait()
	began := time.Now()
	for running(pid) {
		if time.Since(began) > 5*time.Second {
			syscall.Kill(pid, syscall.SIGKILL)
			t.Fatalf("broker process %d outlives the test that started it", pid)
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("broker process gone after %v", time.Since(began).Round(time.Millisecond))
}

// running is false for a process that ended but was not waited for, as happens where nothing adopts orphans.
func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X")
}
