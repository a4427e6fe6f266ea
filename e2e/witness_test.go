package e2e

import (
	"syscall"
	"testing"
)

// TestTwoHostsAndAWitnessSurviveTheLossOfAnyOne does as docs/install.md says for them,
// and takes each away in turn. The witness is missed by nobody but the next loss, so
// its loss calls a person.
func TestTwoHostsAndAWitnessSurviveTheLossOfAnyOne(t *testing.T) {
	needDev(t)
	s := newSite(t, "m1", "m2", "w")
	m1, m2, w := s.hosts["m1"], s.hosts["m2"], s.hosts["w"]
	m1.found()
	m1.serve()
	m2.follow(m1)
	w.follow(m1, "--roles", "control")
	m1.until(func(s status) string { return up(s, 3) })
	m1.must("store", "create")
	m1.settle(3)
	bag := newMailbag(user{"a@example.test", "secret"}, user{"b@example.test", "secret"})
	for _, u := range bag.users {
		m1.addUser(u, m1, m2)
	}
	bag.flows(t, m1, m2)

	w.end(syscall.SIGKILL)
	bag.flows(t, m1, m2)
	bag.reads(t, m1, m2)
	m2.says(
		problem{Code: "machine-dead", Severity: "critical", Machine: "w"},
		problem{Code: "coordinator-without-spare", Severity: "critical", Next: "stop no control machine meanwhile"},
	)
	w.serve()
	for _, lost := range []*host{m1, m2} {
		m1.settle(3)
		left := map[*host]*host{m1: m2, m2: m1}[lost]
		lost.end(syscall.SIGKILL)
		took := bag.flows(t, left)
		bag.reads(t, left)
		t.Logf("%s lost: mail held %.1f s", lost.name, took.Seconds())
		w.says(problem{Code: "machine-dead", Severity: "critical", Machine: lost.name})
		lost.serve()
	}
	m1.settle(3)
	bag.reads(t, m1, m2)
}
