//go:build linux

package child_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/offsite-kafka/offsite/test/bed/child"
)

const parentRole = "CHILD_TEST_PARENT"

func TestMain(m *testing.M) {
	if os.Getenv(parentRole) != "" {
		beParent()
		return
	}
	os.Exit(m.Run())
}

// beParent is the process that gets killed: it starts a child and tells its id.
func beParent() {
	p, err := child.Start(exec.Command("sleep", "60"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(p.PID())
	<-p.Done()
}

func TestChildDiesWithKilledParent(t *testing.T) {
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), parentRole+"=1")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("read child id: %v", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	if !alive(pid) {
		t.Fatalf("child %d is not running before its parent is killed", pid)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	parent.Wait()
	for deadline := time.Now().Add(5 * time.Second); alive(pid); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			syscall.Kill(pid, syscall.SIGKILL)
			t.Fatalf("child %d outlives its parent", pid)
		}
	}
}

func TestChildOutlivesStartingThread(t *testing.T) {
	started := make(chan *child.Process)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		p, err := child.Start(exec.Command("sleep", "60"))
		if err != nil {
			t.Error(err)
		}
		started <- p
	}()
	p := <-started
	if p == nil {
		return
	}
	select {
	case <-p.Done():
		t.Errorf("child ended with the thread that asked for it: %v", p.Err())
	case <-time.After(100 * time.Millisecond):
	}
	if err := p.Kill(); err != nil {
		t.Errorf("kill: %v", err)
	}
	if err := p.Kill(); err != nil {
		t.Errorf("kill again: %v", err)
	}
}

func TestStartReportsMissingProgram(t *testing.T) {
	if _, err := child.Start(exec.Command("./no-such-program")); err == nil {
		t.Error("starting a program that does not exist succeeded")
	}
}

// alive reports whether a process runs. One that ended and was not waited for yet does not: where no init process
// adopts orphans, such a one stays.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X")
}
