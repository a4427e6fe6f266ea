package app

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/config"
)

const (
	checkSyncs = 16      // syncs that are timed
	checkSize  = 4 << 10 // octets of each
	dialTime   = 2 * time.Second
)

// grade is how good a figure is: bad is worse than poor.
func grade[T int | uint64 | float64 | time.Duration](v, poor, bad T) string {
	switch {
	case poor < bad && v >= bad, poor > bad && v <= bad:
		return api.CheckFail
	case poor < bad && v >= poor, poor > bad && v <= poor:
		return api.CheckWarn
	}
	return api.CheckOK
}

// checkSelf looks at this host. It writes a few small files, and takes as long as
// the disks do.
func (m *machine) checkSelf() []api.Check {
	list := []api.Check{m.checkFiles()}
	if m.cfg.Has(config.RoleStorage) || m.cfg.Control.Member != nil {
		list = append(list, m.checkDisk("meta", m.cfg.Meta)...)
	}
	if m.cfg.Has(config.RoleStorage) {
		list = append(list, m.checkDisk("spool", m.cfg.Spool)...)
	}
	for i := range list {
		list[i].Machine = m.name
	}
	return list
}

func (m *machine) checkFiles() api.Check {
	c := api.Check{About: "open files", Hint: "LimitNOFILE in the unit, or ulimit -n"}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		c.State, c.Text = api.CheckFail, err.Error()
		return c
	}
	c.State, c.Text = grade(limit.Cur, 65_535, 4_096), fmt.Sprintf("%d may be open", limit.Cur)
	return c
}

func (m *machine) checkDisk(name, dir string) []api.Check {
	speed := api.Check{About: "sync of " + name, Hint: "deliveries and the coordinator wait for it: a disk of its own, or a faster one"}
	took, err := syncTime(dir)
	speed.State, speed.Text = grade(took, 10*time.Millisecond, 100*time.Millisecond), fmt.Sprintf("%.2f ms at the median", took.Seconds()*1000)
	if err != nil {
		speed.State, speed.Text = api.CheckFail, err.Error()
	}
	space := api.Check{About: "space of " + name, Hint: "below 5 % nothing is written any more"}
	u, err := vfs.Default.GetDiskUsage(dir)
	switch {
	case err != nil:
		space.State, space.Text = api.CheckFail, err.Error()
	case u.TotalBytes == 0:
		space.State, space.Text = api.CheckWarn, "not known"
	default:
		free := 100 * float64(u.AvailBytes) / float64(u.TotalBytes)
		space.State, space.Text = grade(free, 20.0, 5.0), fmt.Sprintf("%.0f %% free, %d GiB", free, u.AvailBytes>>30)
	}
	return []api.Check{speed, space}
}

// syncTime is the median time of an append and its sync.
func syncTime(dir string) (time.Duration, error) {
	f, err := os.CreateTemp(dir, ".check-*")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	block := make([]byte, checkSize)
	times := make([]time.Duration, checkSyncs)
	for i := range times {
		begun := time.Now()
		if _, err := f.Write(block); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		times[i] = time.Since(begun)
	}
	slices.Sort(times)
	return times[checkSyncs/2], nil
}

// checkReach looks whether this machine reaches the ports of another, and what its
// clock says.
func (m *machine) checkReach(ctx context.Context, to cluster.Machine) []api.Check {
	list := []api.Check{m.checkPing(ctx, to)}
	for _, addr := range m.memberPorts(ctx, to) {
		c := api.Check{About: "to " + string(to) + " at " + addr, State: api.CheckOK, Text: "reached", Hint: "open the port of the coordinator between all machines"}
		d := net.Dialer{Timeout: dialTime}
		nc, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			c.State, c.Text = api.CheckFail, err.Error()
		} else {
			nc.Close()
		}
		list = append(list, c)
	}
	for i := range list {
		list[i].Machine = m.name
	}
	return list
}

// checkPing asks over the internal port.
func (m *machine) checkPing(ctx context.Context, to cluster.Machine) api.Check {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	c := api.Check{About: "to " + string(to), Hint: "it must run, and its internal port be open between all machines"}
	begun := time.Now()
	answer, err := m.askControl(ctx, to, controlRequest{Method: "ping"})
	took := time.Since(begun)
	if err != nil {
		c.State, c.Text = api.CheckFail, err.Error()
		return c
	}
	c.State, c.Text = grade(took, 100*time.Millisecond, time.Second), fmt.Sprintf("answers in %.1f ms", took.Seconds()*1000)
	if answer.Now.IsZero() {
		return c // of a release that does not say
	}
	// What the network took is not told from what the clocks differ by.
	ahead := answer.Now.Sub(begun.Add(took / 2))
	if state := grade(ahead.Abs()-took, time.Second, time.Minute); state != api.CheckOK {
		c.State, c.Hint = state, "keep the clocks of all hosts alike, with chrony or systemd-timesyncd"
	}
	c.Text += fmt.Sprintf(", clock differs by %.0f ms", ahead.Abs().Seconds()*1000)
	if answer.Level != 0 && answer.Level != cluster.CurrentLevel {
		c.State, c.Hint = api.CheckWarn, "finish the upgrade"
		c.Text += fmt.Sprintf(", level %d and not %d", answer.Level, cluster.CurrentLevel)
	}
	return c
}

// memberPorts are the ports of the coordinator on a machine.
func (m *machine) memberPorts(ctx context.Context, name cluster.Machine) []string {
	if m.etcd == nil || !m.ownMembers() {
		return nil
	}
	members, err := m.etcd.Members(ctx)
	if err != nil {
		return nil // status tells of a coordinator that does not answer
	}
	var out []string
	for _, o := range members {
		if o.Name != string(name) {
			continue
		}
		for _, s := range slices.Concat(o.Client, o.Peer) {
			if u, err := url.Parse(s); err == nil {
				out = append(out, u.Host)
			}
		}
	}
	return out
}
