package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tandemail/tandemail/e2e/ledger"
)

// spaces are hosts with a network of their own: namespaces, joined by a bridge at
// which the test sits, too.
type spaces struct {
	prefix string // of names in the kernel
	net    string // the first three octets of all addresses
}

// needSpaces skips the test where there can be none.
func needSpaces(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	for _, tool := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("network namespaces need the command %s (packages iproute2, nftables)", tool)
		}
	}
	probe := fmt.Sprintf("tmprobe%d", os.Getpid())
	if out, err := exec.Command("ip", "netns", "add", probe).CombinedOutput(); err != nil {
		t.Skipf("this kernel or container makes no network namespaces: %s", out)
	}
	defer func() { _ = exec.Command("ip", "netns", "del", probe).Run() }()
	if out, err := exec.Command("ip", "netns", "exec", probe, "nft", "add", "table", "inet", "probe").CombinedOutput(); err != nil {
		t.Skipf("this kernel or container filters no packets: %s", out)
	}
}

// newSpaces makes a namespace for each name, with addresses .1, .2 and so on; the test
// has .254.
func newSpaces(t *testing.T, names ...string) *spaces {
	t.Helper()
	id := os.Getpid() % 10_000
	s := &spaces{prefix: fmt.Sprintf("tm%d", id), net: fmt.Sprintf("10.77.%d", id%250)}
	bridge := s.prefix + "br"
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", bridge).Run() })
	shell(t, "ip", "link", "add", bridge, "type", "bridge")
	shell(t, "ip", "addr", "add", s.net+".254/24", "dev", bridge)
	shell(t, "ip", "link", "set", bridge, "up")
	for i, name := range names {
		space, port := s.space(name), s.prefix+name
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", space).Run() }) // with its end of the cable
		shell(t, "ip", "netns", "add", space)
		shell(t, "ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", space)
		shell(t, "ip", "link", "set", port, "master", bridge, "up")
		shell(t, "ip", "-n", space, "addr", "add", fmt.Sprintf("%s.%d/24", s.net, i+1), "dev", "eth0")
		shell(t, "ip", "-n", space, "link", "set", "lo", "up")
		shell(t, "ip", "-n", space, "link", "set", "eth0", "up")
	}
	return s
}

func (s *spaces) space(name string) string { return s.prefix + "-" + name }

func shell(t *testing.T, argv ...string) {
	t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(argv, " "), err, out)
	}
}

// newSpacedSite are hosts in namespaces, with the ports of the documentation.
func newSpacedSite(t *testing.T, names ...string) *site {
	t.Helper()
	spaces := newSpaces(t, names...)
	s := &site{t: t, hosts: map[string]*host{}}
	for i, name := range names {
		h := &host{
			runs: binary,
			site: s, name: name, dir: filepath.Join(t.TempDir(), name), ip: fmt.Sprintf("%s.%d", spaces.net, i+1), space: spaces.space(name),
			ports: map[string]int{"internal-port": 7700, "lmtp-port": 24, "imap-port": 143, "http-port": 8025, "member-port": 2379},
		}
		s.hosts[name] = h
		t.Cleanup(func() { h.end(syscall.SIGTERM) })
	}
	return s
}

// cut makes the host's kernel drop packets: those that match a rule of nft on their way
// out, or in.
func (h *host) cut(out, in []string) error {
	var b strings.Builder
	b.WriteString("table inet cut {\n")
	for chain, rules := range map[string][]string{"output": out, "input": in} {
		fmt.Fprintf(&b, "chain %s {\ntype filter hook %s priority 0;\n", chain, chain)
		for _, r := range rules {
			b.WriteString(r + " drop\n")
		}
		b.WriteString("}\n")
	}
	b.WriteString("}\n")
	cmd := exec.Command("ip", "netns", "exec", h.space, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(b.String())
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cut %s: %w: %s", h.name, err, said)
	}
	return nil
}

// mend ends a cut.
func (h *host) mend() error {
	if said, err := exec.Command("ip", "netns", "exec", h.space, "nft", "delete", "table", "inet", "cut").CombinedOutput(); err != nil {
		return fmt.Errorf("mend %s: %w: %s", h.name, err, said)
	}
	return nil
}

// partition is a way in which a host loses others; other is the partner's.
type partition struct {
	name string
	cut  func(h, other *host) error
}

const etcdPorts = "{ 2379, 2380 }"

var partitions = []partition{
	{"etcd only", func(h, _ *host) error {
		rules := []string{`meta oifname "eth0" tcp dport ` + etcdPorts, `meta oifname "eth0" tcp sport ` + etcdPorts}
		return h.cut(rules, nil)
	}},
	{"partner only", func(h, other *host) error {
		return h.cut([]string{"ip daddr " + other.ip}, []string{"ip saddr " + other.ip})
	}},
	{"one way", func(h, other *host) error { return h.cut([]string{"ip daddr " + other.ip}, nil) }},
	{"one way from all machines", func(h, _ *host) error {
		return h.cut(nil, []string{`meta iifname "eth0" tcp dport { 7700, 2379, 2380 }`})
	}},
}

// TestPartitions puts two machines and a witness on hosts of their own, loses parts of
// the network under load, and holds the cluster to every word it said.
func TestPartitions(t *testing.T) {
	needFailures(t)
	needSpaces(t)
	s := newSpacedSite(t, "m1", "m2", "w")
	m1, m2, w := s.hosts["m1"], s.hosts["m2"], s.hosts["w"]
	m1.found()
	m1.configure("client", "plaintext_auth = true")
	m1.serve()
	if err := m2.join(m1.token()); err != nil {
		t.Fatal(err)
	}
	m2.configure("client", "plaintext_auth = true")
	m2.serve()
	w.follow(m1, "--roles", "control")
	w.until(func(s status) string { return up(s, 3) })
	m1.must("store", "create", "--count", "4")
	w.settle(3)
	c := s.cluster(w, m1, m2)
	for i := range 6 {
		u := user{fmt.Sprintf("u%d@example.test", i), "secret"}
		m1.addUser(u, m1, m2)
		c.Users = append(c.Users, u)
	}
	r := &round{c: c, rec: &ledger.Recorder{}, seed: rand.Uint64() >> 40}
	if err := r.prepare(t.Context()); err != nil {
		t.Fatalf("prepare: %v", err)
	}
	for i := range max(1, *partitionRounds) {
		done := r.underPartitions(t, []*host{m1, m2})
		begin := time.Now()
		if err := c.settle(t.Context(), settleTime); err != nil {
			t.Fatal(err)
		}
		settled := time.Since(begin)
		if err := c.compareCopies(t.Context(), settleTime); err != nil {
			t.Error(err)
		}
		if err := r.readBack(t.Context()); err != nil {
			t.Fatalf("read back: %v", err)
		}
		r.judge(t, fmt.Sprintf("round %d: %s", i, done), settled)
	}
}

// cluster is the site as the ledger's clients see it.
func (s *site) cluster(via *host, fronts ...*host) *cluster {
	c := &cluster{via: via}
	for _, h := range fronts {
		c.Machines = append(c.Machines, machine{Name: h.name, LMTP: h.addr("lmtp-port"), IMAP: h.addr("imap-port")})
	}
	return c
}

// underPartitions loads the cluster and partitions it in every way once, from either
// machine's side.
func (r *round) underPartitions(t *testing.T, hosts []*host) string {
	t.Helper()
	work, cancel := context.WithCancel(t.Context())
	defer cancel()
	var clients sync.WaitGroup
	defer clients.Wait()
	defer cancel()
	var left atomic.Int64
	left.Store(partitionCount)
	for n := range partitionCouriers {
		k := &courier{c: r.c, rec: r.rec, rng: r.rng(n), n: n, left: &left}
		clients.Go(func() { k.run(work) })
	}
	for n, u := range r.writers() {
		w := newWriter(r.c, r.rec, r.rng(100+n), u)
		clients.Go(func() { w.run(work) })
	}
	var done []string
	rng := r.rng(300)
	for _, i := range rng.Perm(len(partitions)) {
		p := partitions[i]
		at := rng.IntN(2)
		pause(work, calmTime)
		if err := p.cut(hosts[at], hosts[1-at]); err != nil {
			t.Fatal(err)
		}
		pause(work, cutTime)
		if err := hosts[at].mend(); err != nil {
			t.Fatal(err)
		}
		done = append(done, p.name+" at "+hosts[at].name)
	}
	pause(work, calmTime)
	return strings.Join(done, ", ")
}

const (
	partitionCouriers = 8
	partitionCount    = 3000
	// cutTime is longer than every time after which a machine is given up or a lone
	// master stops.
	cutTime  = 12 * time.Second
	calmTime = 3 * time.Second
)
