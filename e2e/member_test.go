package e2e

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/coord/etcd"
	"github.com/tandemail/tandemail/internal/pki"
)

// voters waits until the coordinator has so many members, all with a vote.
func (h *host) voters(want int) {
	t := h.site.t
	t.Helper()
	cert, key, ca := pki.Paths(filepath.Join(h.dir, "meta", "pki"))
	c, err := etcd.Connect(etcd.Config{
		Endpoints: []string{"https://" + h.addr("member-port")},
		TLS:       etcd.Files{Cert: cert, Key: key, CA: ca, ServerName: pki.HostName},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), readyTime)
	defer cancel()
	for {
		members, err := c.Members(ctx)
		n := 0
		for _, m := range members {
			if !m.Learner {
				n++
			}
		}
		if err == nil && n == want && len(members) == want {
			return
		}
		if !pause(ctx, 200*time.Millisecond) {
			t.Fatalf("%d of %d members have a vote, want %d: %v\n%s", n, len(members), want, err, h.lastLog())
		}
	}
}

// TestMemberOfTheCoordinatorIsReplaced loses a member's data, then a whole machine. What
// takes their places counts: after each the coordinator survives the loss of another.
func TestMemberOfTheCoordinatorIsReplaced(t *testing.T) {
	needDev(t)
	s := newSite(t, "c1", "c2", "c3", "c4")
	c1, c2, c3, c4 := s.hosts["c1"], s.hosts["c2"], s.hosts["c3"], s.hosts["c4"]
	c1.found("--roles", "control")
	c1.serve()
	c2.follow(c1, "--roles", "control")
	c3.follow(c1, "--roles", "control")
	c1.voters(3)

	c2.end(syscall.SIGKILL)
	if err := os.RemoveAll(filepath.Join(c2.dir, "meta", "etcd")); err != nil {
		t.Fatal(err)
	}
	c2.serve()
	c1.must("token", "create") // there is a quorum all the time
	c1.until(func(s status) string { return up(s, 3) })
	c1.voters(3)
	c3.end(syscall.SIGKILL)
	c2.must("token", "create") // by c1 and c2

	c1.must("machine", "remove", "c3")
	c4.follow(c2, "--roles", "control")
	c1.until(func(s status) string { return up(s, 3) })
	c1.voters(3)
	c1.end(syscall.SIGKILL)
	c4.must("token", "create") // by c2 and c4
	c2.says(problem{Code: "machine-dead", Severity: "critical", Machine: "c1"}, problem{Code: "coordinator-without-spare", Severity: "critical"})
}

// TestCoordinatorThatWentBackPromotesNobody sets the coordinator back to before a copy
// left the in-sync set. That copy, and the coordinator, would have it that it may be
// master; the one that has the mail contradicts, and nothing is decided until a person
// recovers the coordinator.
func TestCoordinatorThatWentBackPromotesNobody(t *testing.T) {
	needDev(t)
	s := newSite(t, "c", "m1", "m2")
	c, m1, m2 := s.hosts["c"], s.hosts["m1"], s.hosts["m2"]
	c.found("--roles", "control")
	c.serve()
	m1.follow(c, "--roles", "storage,front")
	m2.follow(c, "--roles", "storage,front")
	c.until(func(s status) string { return up(s, 3) })
	c.must("store", "create")
	c.settle(3)
	bag := newMailbag(user{"a@example.test", "secret"}, user{"b@example.test", "secret"})
	for _, u := range bag.users {
		c.addUser(u, m1, m2)
	}
	bag.flows(t, m1, m2)
	c.settle(3)

	etcd, old := filepath.Join(c.dir, "meta", "etcd"), filepath.Join(c.dir, "old")
	c.end(syscall.SIGTERM)
	if err := os.CopyFS(old, os.DirFS(etcd)); err != nil {
		t.Fatal(err)
	}
	c.serve()
	m2.end(syscall.SIGKILL)
	late := user{"late@example.test", "secret"}
	m1.addUser(late, m1)
	bag.users = append(bag.users, late)
	bag.flows(t, m1) // on m1 alone
	c.end(syscall.SIGKILL)
	if err := os.RemoveAll(etcd); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(old, etcd); err != nil {
		t.Fatal(err)
	}
	c.serve()
	m2.serve()

	m1.until(func(s status) string {
		for _, p := range s.Problems {
			if (problem{Code: "slot-frozen", Severity: "critical", Store: p.Store, Machine: "m1", Next: "tandemail control recover"}).is(p) {
				return ""
			}
		}
		return "no copy on m1 contradicts the coordinator"
	})
	pause(t.Context(), leftAlone)
	m1.until(func(s status) string {
		for _, st := range s.Stores {
			for _, sl := range st.Slots {
				if sl.Machine == "m2" && sl.Role == "master" {
					t.Fatalf("m2 was promoted: %+v", st)
				}
			}
		}
		return ""
	})
	m2.says(problem{Code: "directory-incomplete", Severity: "critical"})
	bag.keeps(t, []user{late, {User: "nobody@example.test"}}, m1, m2)
	m1.must("control", "recover", "--yes")
	bag.users = bag.users[:2]
	bag.flows(t, m1, m2)
	c.settle(3)
	bag.reads(t, m1, m2)
	m1.says(problem{Code: "directory-incomplete", Severity: "critical"})
	bag.keeps(t, []user{late}, m1, m2)
}
