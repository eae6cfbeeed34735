package cluster

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/offsite-kafka/offsite/test/bed/cache"
)

// install is one release of Kafka on this machine's JVM.
type install struct {
	java string // the program
	jars string // directory
	// archive holds the broker's classes as the JVM wants them in memory (class data sharing), which halves the time
	// that a broker needs to start.
	archive string
	// bootstrap is the first metadata snapshot, the part of a formatted log directory that is the same for all brokers.
	bootstrap string
}

// Fetch fills the cache for a version, as the first start of a cluster would. It needs Maven and a JVM.
func Fetch(ctx context.Context, version string) error {
	_, _, err := JVM(ctx, version)
	return err
}

// JVM returns the java program and the directory with the jars of a version, for tests that run Kafka's own code without
// a broker. It fills the cache as Fetch does.
func JVM(ctx context.Context, version string) (java, jars string, err error) {
	options := Options{Version: version}.withDefaults()
	if err := options.validate(); err != nil {
		return "", "", err
	}
	k, err := prepare(ctx, options.Version)
	return k.java, k.jars, err
}

func prepare(ctx context.Context, version string) (install, error) {
	release := releases[version]
	java, err := findJava()
	if err != nil {
		return install{}, err
	}
	repository, err := cache.Repository()
	if err != nil {
		return install{}, err
	}
	pom := filepath.Join(repository, "test", "pom.xml")
	text, err := os.ReadFile(pom)
	if err != nil {
		return install{}, err
	}
	jars, err := cache.Dir(ctx, fmt.Sprintf("kafka-%s-%s", release, digest(text)), func(dir string) error {
		return copyJars(ctx, pom, release, dir)
	})
	if err != nil {
		return install{}, err
	}
	// An archive is of use only to the very JVM that wrote it, and names the jars by path, time and size.
	jvm, err := identity(java)
	if err != nil {
		return install{}, err
	}
	k := install{java: java, jars: jars}
	trained, err := cache.Dir(ctx, fmt.Sprintf("%s-jvm-%s", filepath.Base(jars), digest([]byte(jvm+jars))), func(dir string) error {
		return k.train(ctx, dir)
	})
	if err != nil {
		return install{}, err
	}
	k.archive = filepath.Join(trained, archiveFile)
	k.bootstrap = filepath.Join(trained, bootstrapFile)
	return k, nil
}

const (
	archiveFile   = "classes.jsa"
	bootstrapFile = "bootstrap.checkpoint" // the name that Kafka gives it
)

func copyJars(ctx context.Context, pom, release, dir string) error {
	mvn := exec.CommandContext(ctx, "mvn", "--quiet", "--batch-mode", "--file", pom, "dependency:copy-dependencies",
		"-Dkafka.version="+release, "-DoutputDirectory="+dir)
	if out, err := mvn.CombinedOutput(); err != nil {
		return fmt.Errorf("copy jars of Kafka %s: %w\n%s", release, err, out)
	}
	return nil
}

// train formats a log directory, runs a broker on it once, and keeps what later brokers start from.
func (k install) train(ctx context.Context, dir string) error {
	scratch := filepath.Join(dir, "scratch")
	c, err := newCluster(scratch, Options{}.withDefaults(), k)
	if err != nil {
		return err
	}
	defer c.releasePorts()
	b := c.brokers[0]
	if err := b.writeFiles(c.properties(b)); err != nil {
		return err
	}
	format := k.command(c.options, b.dir, nil, "kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", c.id, "-c", b.propertiesFile())
	if out, err := format.CombinedOutput(); err != nil {
		return fmt.Errorf("format log directory: %w\n%s", err, out)
	}
	if err := os.Rename(filepath.Join(b.dataDir(), bootstrapFile), filepath.Join(dir, bootstrapFile)); err != nil {
		return err
	}
	if err := k.writeArchive(ctx, c, filepath.Join(dir, archiveFile)); err != nil {
		return err
	}
	return os.RemoveAll(scratch)
}

// writeArchive runs c until it answers clients, then stops it, on which the JVM writes the archive.
func (k install) writeArchive(ctx context.Context, c *Cluster, archive string) error {
	b := c.brokers[0]
	jvm := []string{"-XX:ArchiveClassesAtExit=" + archive}
	if err := b.spawn(k.command(c.options, b.dir, jvm, "kafka.Kafka", b.propertiesFile())); err != nil {
		return err
	}
	defer b.process.Kill()
	if err := c.WaitReady(ctx); err != nil {
		return err
	}
	if err := b.process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-b.process.Done():
	case <-ctx.Done():
		return fmt.Errorf("wait for class archive: %w", ctx.Err())
	case <-time.After(2 * time.Minute):
		return fmt.Errorf("wait for class archive: the broker does not stop\n%s", b.logTail())
	}
	if _, err := os.Stat(archive); err != nil {
		return fmt.Errorf("%w\n%s", err, b.logTail())
	}
	return nil
}

// command returns a Java command of Kafka. home takes what the JVM and its native libraries write, so that nothing
// stays in the system's temporary directory when the JVM is killed.
func (k install) command(o Options, home string, jvm []string, class string, args ...string) *exec.Cmd {
	flags := []string{
		fmt.Sprintf("-Xmx%dm", o.HeapMB),
		"-XX:-UsePerfData",
		"-XX:+ExitOnOutOfMemoryError",
		"-Djava.io.tmpdir=" + home,
		"-Djava.net.preferIPv4Stack=true",
		"-Dorg.slf4j.simpleLogger.showDateTime=true",
		"-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
		"-Dorg.slf4j.simpleLogger.showThreadName=false",
		"-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn", // else every start prints all settings
		"-cp", filepath.Join(k.jars, "*"),
	}
	if o.Benchmark {
		flags = append(flags, "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35")
	} else {
		flags = append(flags, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
	}
	if k.archive != "" {
		flags = append(flags, "-XX:SharedArchiveFile="+k.archive)
	}
	flags = append(append(flags, jvm...), class)
	return exec.Command(k.java, append(flags, args...)...)
}

func findJava() (string, error) {
	if home := os.Getenv("JAVA_HOME"); home != "" {
		return filepath.Join(home, "bin", "java"), nil
	}
	java, err := exec.LookPath("java")
	if err != nil {
		return "", fmt.Errorf("find a JVM: %w", err)
	}
	return java, nil
}

// identity tells two JVMs apart without running them.
func identity(java string) (string, error) {
	path, err := filepath.EvalSymlinks(java)
	if err != nil {
		return "", fmt.Errorf("find a JVM: %w", err)
	}
	modules := filepath.Join(filepath.Dir(filepath.Dir(path)), "lib", "modules")
	info, err := os.Stat(modules)
	if err != nil {
		return "", fmt.Errorf("find a JVM: %w", err)
	}
	return fmt.Sprint(path, info.Size(), info.ModTime().UnixNano()), nil
}

func digest(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b))[:12] }
