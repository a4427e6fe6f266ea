package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/coord/etcd"
)

// trio describes three members that found one cluster.
func trio(t *testing.T) []etcd.MemberConfig {
	t.Helper()
	cfgs := make([]etcd.MemberConfig, 3)
	peers := map[string]string{}
	var endpoints []string
	dir, urls := t.TempDir(), freeURLs(t, 2*len(cfgs))
	for i := range cfgs {
		name := fmt.Sprint("m", i+1)
		cfgs[i] = etcd.MemberConfig{
			Name: name, Dir: filepath.Join(dir, name), ClientURL: urls[2*i], PeerURL: urls[2*i+1],
			TLS: ours, Quick: true, Unsafe: true, Token: "trio",
		}
		peers[name] = cfgs[i].PeerURL
		endpoints = append(endpoints, cfgs[i].ClientURL)
	}
	for i := range cfgs {
		cfgs[i].InitialCluster, cfgs[i].Endpoints = maps.Clone(peers), endpoints
	}
	return cfgs
}

func startAll(t *testing.T, cfgs ...etcd.MemberConfig) []running {
	t.Helper()
	var out []running
	for _, cfg := range cfgs {
		out = append(out, start(t, cfg))
	}
	for _, m := range out {
		await(t, m)
	}
	return out
}

func stopAll(t *testing.T, members ...running) {
	t.Helper()
	done := make(chan error, len(members))
	for _, m := range members {
		go func() { done <- m.stop() }()
	}
	for range members {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

func wipe(t *testing.T, cfg etcd.MemberConfig) {
	t.Helper()
	if err := os.RemoveAll(cfg.Dir); err != nil {
		t.Fatal(err)
	}
}

// rawClient is etcd's own.
func rawClient(t *testing.T, url string) *clientv3.Client {
	t.Helper()
	info := transport.TLSInfo{CertFile: ours.Cert, KeyFile: ours.Key, TrustedCAFile: ours.CA, InsecureSkipVerify: true}
	config, err := info.ClientConfig()
	if err != nil {
		t.Fatal(err)
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{url}, TLS: config, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// memberIDs are the voters by name; a learner or a nameless member is an error.
func memberIDs(t *testing.T, cfg etcd.MemberConfig) map[string]uint64 {
	t.Helper()
	list, err := rawClient(t, cfg.ClientURL).MemberList(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]uint64{}
	for _, m := range list.Members {
		if m.IsLearner || m.Name == "" {
			t.Errorf("member %v is not a voter with a name", m)
		}
		out[m.Name] = m.ID
	}
	return out
}

// again repeats a change of members. An ID is a hash of the address and the second,
// and a removed one stays refused.
func again(t *testing.T, add func(ctx context.Context) (any, error)) any {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		// The answer to a change of members may be lost with its proposal.
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		out, err := add(ctx)
		cancel()
		if err == nil || errors.Is(err, rpctypes.ErrPeerURLExist) || errors.Is(err, rpctypes.ErrMemberNotFound) {
			return out // what an attempt asked for whose answer was lost
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// put writes until it is acknowledged.
func put(t *testing.T, cfg etcd.MemberConfig, key, value string) {
	t.Helper()
	c := connect(t, cfg.ClientURL)
	deadline := time.Now().Add(10 * time.Second)
	for {
		_, _, err := c.Txn(t.Context(), coord.Txn{Then: []coord.Op{coord.Put(key, []byte(value))}})
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("write %s through %s: %v", key, cfg.Name, err)
		}
	}
}

func wantValue(t *testing.T, cfg etcd.MemberConfig, key, want string) {
	t.Helper()
	if v, _, err := connect(t, cfg.ClientURL).Get(t.Context(), key); string(v) != want || err != nil {
		t.Errorf("%s through %s: %q, %v; want %q", key, cfg.Name, v, err, want)
	}
}

// waits is a log that tells when a member said that it waits.
type waits struct {
	slog.Handler
	said chan string
}

func newWaits() waits { return waits{slog.DiscardHandler, make(chan string, 64)} }

func (w waits) Enabled(context.Context, slog.Level) bool { return true }
func (w waits) WithAttrs([]slog.Attr) slog.Handler       { return w }
func (w waits) WithGroup(string) slog.Handler            { return w }
func (w waits) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "coordinator member without data waits for the others" {
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == "others" {
				select {
				case w.said <- a.Value.String():
				default:
				}
			}
			return true
		})
	}
	return nil
}

func hasLog(t *testing.T, cfg etcd.MemberConfig) bool {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(cfg.Dir, "member", "wal", "*.wal"))
	if err != nil {
		t.Fatal(err)
	}
	return len(logs) > 0
}

// comeBack stops m3 of cfgs, wipes it, lets meanwhile change what is left of it,
// and starts it again: it must be a new voter with all data.
func comeBack(t *testing.T, cfgs []etcd.MemberConfig, m3 running, meanwhile func(c *clientv3.Client, old uint64)) running {
	t.Helper()
	stopAll(t, m3)
	wipe(t, cfgs[2])
	before := memberIDs(t, cfgs[0])
	meanwhile(rawClient(t, cfgs[0].ClientURL), before["m3"])
	m3 = startAll(t, cfgs[2])[0]
	after := memberIDs(t, cfgs[2])
	if len(after) != 3 || after["m1"] != before["m1"] || after["m2"] != before["m2"] || after["m3"] == before["m3"] {
		t.Errorf("members %x, before %x", after, before)
	}
	wantValue(t, cfgs[2], "k", "1")
	return m3
}

// TestWipedMemberComesBackAsANewOne also after an attempt that ended after any of
// its steps. m3 is a late founder to begin with.
func TestWipedMemberComesBackAsANewOne(t *testing.T) {
	t.Parallel()
	cfgs := trio(t)
	first := startAll(t, cfgs[:2]...)
	put(t, cfgs[0], "k", "1")
	m3 := startAll(t, cfgs[2])[0]
	wantValue(t, cfgs[2], "k", "1")
	m3 = comeBack(t, cfgs, m3, func(*clientv3.Client, uint64) {})
	m3 = comeBack(t, cfgs, m3, func(c *clientv3.Client, old uint64) {
		again(t, func(ctx context.Context) (any, error) { return c.MemberRemove(ctx, old) })
	})
	m3 = comeBack(t, cfgs, m3, func(c *clientv3.Client, old uint64) {
		again(t, func(ctx context.Context) (any, error) { return c.MemberRemove(ctx, old) })
		again(t, func(ctx context.Context) (any, error) { return c.MemberAddAsLearner(ctx, []string{cfgs[2].PeerURL}) })
	})
	stopAll(t, first[0])
	put(t, cfgs[2], "k", "3")
	wantValue(t, cfgs[1], "k", "3")

	// What was removed while it was down does not come back by itself.
	startAll(t, cfgs[0])
	old := memberIDs(t, cfgs[0])["m3"]
	stopAll(t, m3)
	c0 := rawClient(t, cfgs[0].ClientURL)
	again(t, func(ctx context.Context) (any, error) { return c0.MemberRemove(ctx, old) })
	removed, err := etcd.NewMember(cfgs[2])
	if err != nil {
		t.Fatal(err)
	}
	if err := removed.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "removed from the cluster") {
		t.Errorf("removed member: %v", err)
	}
}

// After a power loss the member without data may be the first that is up. If it
// voted then, m2 and it would forget what m1 and it acknowledged.
func TestWipedMemberThatIsUpFirstWaitsForAQuorum(t *testing.T) {
	t.Parallel()
	cfgs := trio(t)
	members := startAll(t, cfgs...)
	put(t, cfgs[0], "k", "1")
	stopAll(t, members[1])
	put(t, cfgs[0], "k", "2") // m1 and m3 have it, m2 has not
	stopAll(t, members[0], members[2])
	wipe(t, cfgs[2])

	log := newWaits()
	wiped := cfgs[2]
	wiped.Log = slog.New(log)
	m3 := start(t, wiped)
	if got := <-log.said; got != "m1 silent, m2 silent" {
		t.Errorf("waits for %q", got)
	}
	m2 := start(t, cfgs[1])
	for got := range log.said {
		if got == "m1 silent, m2 in a cluster" {
			break
		}
	}
	select {
	case <-m3.Ready():
		t.Fatal("ready without a quorum that knows it")
	case <-m2.Ready():
		t.Fatal("a quorum with an empty member")
	default:
	}
	if hasLog(t, wiped) {
		t.Fatal("the wiped member has founded a cluster")
	}
	start(t, cfgs[0])
	await(t, m3)
	wantValue(t, cfgs[2], "k", "2")
	twoWiped(t, cfgs, m2, m3)
}

// twoWiped wipes m2 and m3, which hold a majority: nothing but m1 knows what there
// was, and they must leave it at that.
func twoWiped(t *testing.T, cfgs []etcd.MemberConfig, m2, m3 running) {
	t.Helper()
	stopAll(t, m2, m3)
	wipe(t, cfgs[1])
	wipe(t, cfgs[2])
	log := newWaits()
	third := cfgs[2]
	third.Log = slog.New(log)
	start(t, cfgs[1])
	start(t, third)
	if got, want := <-log.said, "m1 in a cluster, m2 without data"; got != want {
		t.Errorf("m3 waits for %q", got)
	}
	if hasLog(t, cfgs[1]) || hasLog(t, cfgs[2]) {
		t.Error("a second cluster was founded")
	}
}

// addLater has a fourth machine join, which is told no more than where the cluster
// is, and then one that claims its name.
func addLater(t *testing.T, cfgs []etcd.MemberConfig, k string) {
	t.Helper()
	fourth := etcd.MemberConfig{
		Name: "m4", Dir: filepath.Join(t.TempDir(), "m4"), ClientURL: freeURL(t), PeerURL: freeURL(t),
		Endpoints: cfgs[0].Endpoints, Join: true, Token: "trio", TLS: ours, Quick: true, Unsafe: true,
	}
	m4 := startAll(t, fourth)
	wantValue(t, fourth, "k", k)
	if ids := memberIDs(t, fourth); len(ids) != 4 {
		t.Errorf("members %x", ids)
	}
	stopAll(t, m4...)
	wipe(t, fourth)
	fourth.PeerURL = freeURL(t)
	taken, err := etcd.NewMember(fourth)
	if err != nil {
		t.Fatal(err)
	}
	if err := taken.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "name is taken") {
		t.Errorf("a second m4: %v", err)
	}
}

func TestThreeMembersStopTogetherWithoutDelay(t *testing.T) {
	t.Parallel()
	cfgs := trio(t)
	members := startAll(t, cfgs...)
	for _, cfg := range cfgs {
		c := rawClient(t, cfg.ClientURL)
		<-c.Watch(clientv3.WithRequireLeader(t.Context()), "k", clientv3.WithCreatedNotify())
		lease, err := c.Grant(t.Context(), 5)
		if err != nil {
			t.Fatal(err)
		}
		alive, err := c.KeepAlive(t.Context(), lease.ID)
		if err != nil {
			t.Fatal(err)
		}
		<-alive
	}
	began := time.Now()
	stopAll(t, slices.Clone(members)...)
	if d := time.Since(began); d > 20*time.Second { // 50-250 ms; 5 s where a busy host lets a successor stop first; a watch is waited for without end
		t.Errorf("took %v", d)
	}
}
