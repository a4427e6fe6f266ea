package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// failures are the rows of docs/failures.md that one site goes through.
var failures = []struct {
	name string
	test func(*rows, *testing.T)
}{
	{"one machine", (*rows).oneMachine},
	{"a replica hangs", (*rows).aReplicaHangs},
	{"etcd quorum only", (*rows).quorumOnly},
	{"etcd quorum, then a replica", (*rows).quorumThenReplica},
	{"the disk of an etcd member is full", (*rows).memberFull},
	{"etcd for good", (*rows).quorumForGood},
	{"fast disk of one slot", (*rows).fastDisk},
	{"both copies of a store", (*rows).bothCopies},
	{"everything", (*rows).everything},
}

// TestFailures holds the rows of docs/failures.md: what can be read and written while
// something is lost, what `status` says, and that nobody has to act unless the row
// says so. A site is two machines with mail, and the coordinator in three processes
// of its own, so that each can be lost without the other.
func TestFailures(t *testing.T) {
	needFailures(t)
	r, t0 := newRows(t), t
	for _, row := range failures {
		whole := t.Run(row.name, func(t *testing.T) {
			r.site.t = t
			defer func() { r.site.t = t0 }()
			row.test(r, t)
			r.heals(t)
		})
		if !whole {
			return
		}
	}
}

func TestEveryRowOfTheTableIsTested(t *testing.T) {
	b, err := os.ReadFile("../docs/failures.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range failures {
		for _, cell := range []string{"| " + row.name + " |", "| `TestFailures/" + row.name + "` |"} {
			if !strings.Contains(string(b), cell) {
				t.Errorf("docs/failures.md has no cell %s", cell)
			}
		}
	}
	if n := strings.Count(string(b), "`TestFailures/"); n != len(failures) {
		t.Errorf("docs/failures.md names %d tests, of %d", n, len(failures))
	}
}

// rows is the site they are tested on.
type rows struct {
	*site
	control, storage []*host
	bag              *mailbag
	stores           []string // of the bag's users
}

// Holds of the front ends, so that what waits in vain does not wait for long.
const (
	rowHoldLMTP     = "3s"
	rowHoldSessions = "4s"
)

func newRows(t *testing.T) *rows {
	t.Helper()
	s := newSite(t, "c1", "c2", "c3", "m1", "m2")
	r := &rows{site: s, control: []*host{s.hosts["c1"], s.hosts["c2"], s.hosts["c3"]}, storage: []*host{s.hosts["m1"], s.hosts["m2"]}}
	c1 := r.control[0]
	c1.found("--roles", "control")
	c1.serve()
	for _, c := range r.control[1:] {
		c.follow(c1, "--roles", "control")
	}
	for _, m := range r.storage {
		if err := m.join(c1.token("--roles", "storage,front")); err != nil {
			t.Fatal(err)
		}
		m.configure("mail", `hold_lmtp = "`+rowHoldLMTP+`"`, `hold_sessions = "`+rowHoldSessions+`"`)
		m.serve()
	}
	c1.until(func(s status) string { return up(s, 5) })
	c1.must("store", "create")
	c1.settle(5)
	r.bag = newMailbag(user{"a@example.test", "secret"}, user{"b@example.test", "secret"})
	for _, u := range r.bag.users {
		c1.addUser(u, r.storage...)
		r.stores = append(r.stores, r.storeOf(u))
	}
	if r.stores[0] == r.stores[1] {
		t.Fatalf("both users are in store %s", r.stores[0])
	}
	r.bag.flows(t, r.storage...)
	r.heals(t)
	return r
}

func (r *rows) storeOf(u user) string {
	var found struct{ Store string }
	mustJSON(r.t, r.control[0].must("user", "where", u.User, "--json"), &found)
	return found.Store
}

// heals waits until nothing is left of a row: every copy in sync, no problem, and
// every acknowledged message readable everywhere.
func (r *rows) heals(t *testing.T) {
	t.Helper()
	r.control[0].until(func(s status) string {
		if why := unsettled(s, 5); why != "" {
			return why
		}
		if len(s.Problems) > 0 {
			return fmt.Sprint(s.Problems[0])
		}
		return ""
	})
	r.bag.flows(t, r.storage...)
	r.bag.reads(t, r.storage...)
}

// says waits until the host's status has all these problems.
func (h *host) says(want ...problem) {
	h.site.t.Helper()
	h.until(func(s status) string {
		for _, w := range want {
			if !slices.ContainsFunc(s.Problems, w.is) {
				return fmt.Sprintf("no problem %s %s %s%s among %v", w.Severity, w.Code, w.Store, w.Machine, s.Problems)
			}
		}
		return ""
	})
}

// is reports whether p is what w describes.
func (w problem) is(p problem) bool {
	return p.Code == w.Code && p.Severity == w.Severity && p.Store == w.Store && p.Machine == w.Machine && strings.Contains(p.Next, w.Next)
}

// oneMachine: reads and writes are held until the other copy is master, or alone; then
// the store is degraded, and shown as such. Nobody acts.
func (r *rows) oneMachine(t *testing.T) {
	m1, m2 := r.storage[0], r.storage[1]
	m2.end(syscall.SIGKILL)
	wrote := r.bag.flows(t, m1)
	read := r.bag.reads(t, m1)
	t.Logf("writes held %.1f s, reads then %.1f s", wrote.Seconds(), read.Seconds())
	r.control[0].says(
		problem{Code: "machine-dead", Severity: "critical", Machine: "m2"},
		problem{Code: "store-degraded", Severity: "critical", Store: r.stores[0], Machine: "m1"},
		problem{Code: "store-degraded", Severity: "critical", Store: r.stores[1], Machine: "m1"},
	)
	r.bag.atOnce(t, m1)
	m2.serve()
}

// aReplicaHangs: reads stop after a second and are back at its removal, writes wait at
// most as long as a replica may stall. Nobody acts.
func (r *rows) aReplicaHangs(t *testing.T) {
	m1, m2 := r.storage[0], r.storage[1]
	m2.signal(syscall.SIGSTOP)
	defer m2.signal(syscall.SIGCONT)
	wrote := r.bag.flows(t, m1)
	read := r.bag.reads(t, m1)
	t.Logf("writes held %.1f s, reads then %.1f s", wrote.Seconds(), read.Seconds())
	r.control[0].says(problem{Code: "store-degraded", Severity: "critical", Store: r.stores[0], Machine: "m1"})
}

// withoutQuorum is how long pairs are watched without the coordinator: longer than any
// lease, and than a lone master would go on.
const withoutQuorum = 12 * time.Second

// quorumOnly: pairs go on. A person is called, since a machine that is restarted now
// does not serve.
func (r *rows) quorumOnly(t *testing.T) {
	r.loseQuorum()
	for end := time.Now().Add(withoutQuorum); time.Now().Before(end) && pause(t.Context(), 500*time.Millisecond); {
		r.bag.atOnce(t, r.storage...)
	}
	r.bag.reads(t, r.storage...)
	for _, h := range []*host{r.storage[0], r.control[2]} {
		h.says(problem{Code: "coordinator-stale", Severity: "critical", Next: "bring back a majority of the control machines"})
	}
	r.storage[0].until(func(s status) string {
		if len(s.Stores) != 2 || len(s.Machines) != 5 {
			return fmt.Sprintf("shows %d stores and %d machines", len(s.Stores), len(s.Machines))
		}
		return ""
	})
	r.regainQuorum()
}

func (r *rows) loseQuorum() {
	for _, c := range r.control[:2] {
		c.end(syscall.SIGKILL)
	}
}

func (r *rows) regainQuorum() {
	for _, c := range r.control[:2] {
		c.serve()
	}
}

// quorumThenReplica: the master cannot know that it is not the one that was left
// alone. Mail waits at the MTA; what comes back without the coordinator does not
// serve.
func (r *rows) quorumThenReplica(t *testing.T) {
	m1, m2 := r.storage[0], r.storage[1]
	r.loseQuorum()
	r.bag.atOnce(t, m1)
	m2.end(syscall.SIGKILL)
	pause(t.Context(), 2*time.Second) // reads end a second after the replica
	r.refuses(t, m1)
	m1.says(problem{Code: "coordinator-stale", Severity: "critical"})
	m2.serve()
	m2.must("machine", "list")
	r.refuses(t, m1, m2)
	r.regainQuorum()
}

// refuses: nothing is written or read, and every answer is temporary.
func (r *rows) refuses(t *testing.T, fronts ...*host) {
	t.Helper()
	var both sync.WaitGroup
	both.Go(func() { r.bag.waits(t, r.bag.users, fronts...) })
	both.Go(func() { r.bag.unreadable(t, fronts...) })
	both.Wait()
}

// memberFull: a member that finds no room when it starts does not run, and the others go
// on. When a person has made room it is back, with nothing else done.
func (r *rows) memberFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a disk of its own needs root")
	}
	c, dir := r.control[2], filepath.Join(r.control[2].dir, "meta", "etcd")
	c.end(syscall.SIGTERM)
	moveDir(t, dir, dir+".real")
	shell(t, "mkdir", dir)
	shell(t, "mount", "-t", "tmpfs", "-o", "size=256m,mode=0700", "tandemail-test", dir)
	mounted := true
	t.Cleanup(func() {
		if mounted {
			shell(t, "umount", "-l", dir)
		}
	})
	shell(t, "cp", "-a", dir+".real/.", dir)
	fill := filepath.Join(dir, "filled")
	if err := fillUp(fill); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk ended with: %v", err)
	}
	c.serve()
	select {
	case <-c.ended:
	case <-time.After(stopTime):
		t.Fatalf("%s runs on a full disk\n%s", c.name, c.lastLog())
	}
	if why := c.lastLog(); !strings.Contains(why, "no space left on device") {
		t.Errorf("why it ended is not said: %s", why)
	}
	r.control[0].says(
		problem{Code: "machine-dead", Severity: "critical", Machine: "c3"},
		problem{Code: "coordinator-without-spare", Severity: "critical"},
	)
	r.bag.flows(t, r.storage...)
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	c.serve()
	r.heals(t)
	c.end(syscall.SIGTERM)
	shell(t, "cp", "-a", dir, dir+".now")
	shell(t, "umount", dir)
	mounted = false
	for _, gone := range []string{dir, dir + ".real"} {
		if err := os.RemoveAll(gone); err != nil {
			t.Fatal(err)
		}
	}
	moveDir(t, dir+".now", dir)
	c.serve()
}

// fillUp writes a file until that fails.
func fillUp(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err = f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	return err
}

// quorumForGood: the members' data is lost, a new coordinator is founded, and recovered
// from the slots and an export, by a person.
func (r *rows) quorumForGood(t *testing.T) {
	saved := r.exports(t)
	var first []string
	for _, c := range r.control {
		c.end(syscall.SIGKILL)
		if err := os.RemoveAll(filepath.Join(c.dir, "meta", "etcd")); err != nil {
			t.Fatal(err)
		}
		first = append(first, fmt.Sprintf(`%s = "https://127.0.0.1:%d"`, c.name, c.ports["member-port"]+1))
	}
	for _, c := range r.control {
		c.configure("control.member", "initial = { "+strings.Join(first, ", ")+" }")
		c.serve()
	}
	m1 := r.storage[0]
	m1.says(problem{Code: "coordinator-rewound", Severity: "critical", Next: "tandemail control recover"})
	for _, m := range r.storage { // by then its copy of the directory is the new one's
		m.says(problem{Code: "directory-incomplete", Severity: "critical"})
	}
	r.bag.waits(t, append([]user{{User: "nobody@example.test"}}, r.bag.users...), r.storage...)
	m1.until(func(s status) string {
		if len(s.Stores) > 0 && !slices.ContainsFunc(s.Problems, func(p problem) bool { return p.Code == "coordinator-stale" }) {
			return "a store is there before anybody recovered it"
		}
		return ""
	})
	m1.must("control", "recover", "--from", saved, "--yes")
	r.bag.flows(t, r.storage...)
	m1.says(problem{Code: "directory-incomplete", Severity: "critical", Next: "control recover --complete"})
	r.bag.waits(t, []user{{User: "nobody@example.test"}}, r.storage...)
	m1.must("control", "recover", "--complete", "--yes")
	m1.until(func(s status) string {
		reply, _ := r.bag.try(t.Context(), m1, user{User: "nobody@example.test"})
		if reply.Code != 550 {
			return fmt.Sprintf("nobody was answered %d %s", reply.Code, reply.Text)
		}
		return ""
	})
}

// exports waits until every machine has one with all users, and names the one of m1.
func (r *rows) exports(t *testing.T) string {
	t.Helper()
	newest := ""
	for _, h := range append(slices.Clone(r.control), r.storage[1], r.storage[0]) {
		again := false
		h.until(func(status) string {
			files, _ := filepath.Glob(filepath.Join(h.dir, "meta", "coordinator", "export-*.json"))
			if len(files) == 0 {
				return "there is no export"
			}
			newest = slices.Max(files)
			b, err := os.ReadFile(newest)
			if err != nil {
				return err.Error()
			}
			for _, u := range r.bag.users {
				if strings.Contains(string(b), u.User) {
					continue
				}
				if !again { // it was made before the user: the next one is of the next start
					again = true
					h.end(syscall.SIGTERM)
					h.serve()
				}
				return newest + " does not know " + u.User
			}
			return ""
		})
	}
	return newest
}

// fastDisk: the index of one slot and all that the fast disk had of the other are lost.
// The partner serves, the index is made anew, the slot is filled again. Nobody acts.
func (r *rows) fastDisk(t *testing.T) {
	m1, m2 := r.storage[0], r.storage[1]
	m2.end(syscall.SIGKILL)
	for i, store := range r.stores {
		for _, dir := range m2.slotDirs("meta", store) {
			if i == 0 {
				dir = filepath.Join(dir, "index")
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.bag.flows(t, m1)
	r.bag.reads(t, m1)
	m2.serve()
	r.control[0].settle(5)
	c := &cluster{via: r.control[0]}
	if err := c.compareCopies(t.Context(), readyTime); err != nil {
		t.Error(err)
	}
}

// slotDirs are a host's directories of a store's slot on one of its disks.
func (h *host) slotDirs(disk, store string) []string {
	h.site.t.Helper()
	dirs, err := filepath.Glob(filepath.Join(h.dir, disk, "slots", store+".*"))
	if err != nil || len(dirs) == 0 {
		h.site.t.Fatalf("%s has no slot of %s: %v", h.name, store, err)
	}
	return dirs
}

// bothCopies: that store's mail waits at the MTA, the others go on. A person gets the
// mail out of what is left of the disks, or brings one of them back.
func (r *rows) bothCopies(t *testing.T) {
	for _, m := range r.storage {
		m.end(syscall.SIGKILL)
	}
	aside := map[string]string{}
	for _, m := range r.storage {
		for _, disk := range []string{"meta", "spool"} {
			for _, dir := range m.slotDirs(disk, r.stores[0]) {
				aside[dir] = filepath.Join(m.dir, "aside", disk, filepath.Base(dir))
				moveDir(t, dir, aside[dir])
			}
		}
		m.serve()
	}
	lost, other := r.bag.users[:1], &mailbag{users: r.bag.users[1:], acked: r.bag.acked, open: r.bag.open, sent: 1 << 20}
	other.flows(t, r.storage...)
	other.reads(t, r.storage...)
	r.bag.waits(t, lost, r.storage...)
	r.control[0].says(
		problem{Code: "store-without-candidate", Severity: "critical", Store: r.stores[0], Next: "bring one of these back"},
		problem{Code: "slot-failed", Severity: "critical", Store: r.stores[0], Machine: "m1"},
	)
	var salvaged struct {
		Slots []struct{ Messages int }
	}
	m1 := r.storage[0]
	mustJSON(t, m1.must("salvage", filepath.Join(m1.dir, "aside"), "--to", filepath.Join(m1.dir, "salvaged"), "--json"), &salvaged)
	if acked := r.bag.acked[lost[0].User]; len(salvaged.Slots) != 1 || salvaged.Slots[0].Messages < acked {
		t.Errorf("salvaged %+v of %d acknowledged messages", salvaged, acked)
	}
	for _, m := range r.storage {
		m.end(syscall.SIGKILL)
	}
	for dir, from := range aside {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		moveDir(t, from, dir)
	}
	for _, m := range r.storage {
		m.serve()
	}
}

func moveDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// everything: power fails everywhere. After the coordinator has a quorum again mail
// flows. Nobody acts.
func (r *rows) everything(t *testing.T) {
	var sending sync.WaitGroup
	for _, front := range r.storage {
		for range 40 {
			sending.Go(func() { r.bag.try(t.Context(), front, r.bag.users[0]) })
		}
	}
	all := append(slices.Clone(r.control), r.storage...)
	for _, h := range all {
		h.end(syscall.SIGKILL)
	}
	sending.Wait()
	for _, h := range all {
		h.serve()
	}
}
