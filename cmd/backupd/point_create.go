package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/offsite-kafka/offsite/internal/admin"
	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/sink"
	"github.com/spf13/cobra"
)

// creation are the flags of backupd point create.
type creation struct {
	topics []string
	admin  string
	wait   time.Duration
	alone  bool
}

// defaultWait is how long a point may take.
const defaultWait = 10 * time.Minute

func createPointCommand(g *cli.Globals) *cobra.Command {
	var c creation
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a recovery point with a name, and wait until it is durable",
		Long: "Make a recovery point with a name, and wait until it is durable. Everything that was acknowledged before is in it.\n" +
			"With --admin the backupd run that works on the repository makes it. Without, this command captures what is new, like \"backupd once\".",
		Example: "  backupd point create before-the-upgrade --admin 127.0.0.1:8081\n" +
			"  backupd point create nightly-2026-11-22 --wait=30m --repo s3://my-backups/prod --bootstrap-server kafka:9092",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := c.point(cmd.Context(), g, args[0])
			if err != nil {
				return err
			}
			hintPin(g, p)
			return printMade(cmd, g, p, "made", true)
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.admin, "admin", "", "ask the backupd run whose admin.listen is `URL`, http://HOST:PORT or HOST:PORT")
	c.wait = defaultWait
	cli.DurationFlag(f, &c.wait, "wait", "give up after `DURATION`")
	f.Lookup("wait").NoOptDefVal = defaultWait.String()
	f.BoolVar(&c.alone, "alone", false, "without --admin: even if a backupd run seems to be at work on the repository; one of the two will end")
	topicsFlag(cmd, &c.topics)
	g.OutputFlag(cmd)
	return cmd
}

// hintPin says that a name alone does not keep a point.
func hintPin(g *cli.Globals, p manifest.PointRef) {
	if g.Config.Retention.Drops() && !p.Protected() {
		g.Log.Info("retention will drop this point as any other: \"backupd point pin\" keeps it", "point", p.Sequence, "name", p.Name)
	}
}

// point makes the recovery point.
func (c *creation) point(ctx context.Context, g *cli.Globals, name string) (manifest.PointRef, error) {
	if err := manifest.CheckPointName(name); err != nil {
		return manifest.PointRef{}, err
	}
	if c.wait <= 0 {
		return manifest.PointRef{}, cli.Usagef("--wait must be above 0")
	}
	late := fmt.Errorf("no recovery point within %s: it may still be made", c.wait)
	ctx, cancel := context.WithTimeoutCause(ctx, c.wait, late)
	defer cancel()
	how := c.capture
	switch {
	case c.admin != "":
		how = c.ask
	case g.Config.Admin.Listen != "" && !c.alone && len(c.topics) == 0:
		how = c.askOrCapture
	}
	p, err := how(ctx, g, name)
	if err != nil && errors.Is(context.Cause(ctx), late) {
		return p, late
	}
	return p, err
}

// ask lets a daemon make it.
func (c *creation) ask(ctx context.Context, _ *cli.Globals, name string) (manifest.PointRef, error) {
	if len(c.topics) > 0 || c.alone {
		return manifest.PointRef{}, cli.Usagef("--topics and --alone do not go with --admin: the daemon captures what it is told to")
	}
	client, err := admin.NewClient(c.admin)
	if err != nil {
		return manifest.PointRef{}, err
	}
	return client.Point(ctx, name)
}

// askOrCapture lets the daemon make it whose address the configuration has, or, if
// nobody listens there, makes it here.
func (c *creation) askOrCapture(ctx context.Context, g *cli.Globals, name string) (manifest.PointRef, error) {
	client, err := admin.NewClient(g.Config.Admin.Listen)
	if err != nil {
		return manifest.PointRef{}, err
	}
	p, err := client.Point(ctx, name)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return c.capture(ctx, g, name)
	}
	return p, err
}

// capture makes it here.
func (c *creation) capture(ctx context.Context, g *cli.Globals, name string) (manifest.PointRef, error) {
	s, closeAll, err := open(ctx, g, c.topics, false)
	if err != nil {
		return manifest.PointRef{}, err
	}
	defer closeAll()
	s.Config.BesideRun = c.alone
	progress := g.NewProgress("capturing", "offsets", 0)
	s.Progress = progress.Set
	p, err := s.OncePoint(ctx, name)
	progress.End()
	if errors.Is(err, sink.ErrRunning) || errors.Is(err, manifest.ErrFenced) {
		return p, fmt.Errorf("%w: let the backupd run make the point: ask it with --admin URL, the address of its admin.listen", err)
	}
	return p, err
}
