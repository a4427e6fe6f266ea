package etcd_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/coord/coordtest"
	"github.com/tandemail/tandemail/internal/coord/etcd"
)

// freeURLs finds n ports nobody has now.
func freeURLs(t *testing.T, n int) []string {
	t.Helper()
	out := make([]string, n)
	for i := range out {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		out[i] = "https://" + l.Addr().String()
	}
	return out
}

func freeURL(t *testing.T) string { return freeURLs(t, 1)[0] }

type running struct {
	*etcd.Member
	stop func() error
	done <-chan struct{} // Run has returned
}

func start(t *testing.T, cfg etcd.MemberConfig) running {
	t.Helper()
	m, err := etcd.NewMember(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = m.Run(ctx)
	}()
	stop := func() error {
		cancel()
		<-done
		return err
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return running{m, stop, done}
}

// await waits until m serves.
func await(t *testing.T, m running) {
	t.Helper()
	select {
	case <-m.Ready():
	case <-m.done:
		t.Fatal(m.stop())
	case <-time.After(time.Minute):
		t.Fatalf("the member at %s is not ready after a minute", m.ClientURL())
	}
}

func connect(t *testing.T, urls ...string) *etcd.Client {
	t.Helper()
	c, err := etcd.Connect(etcd.Config{Endpoints: urls, TLS: ours})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestEtcdConforms(t *testing.T) {
	t.Parallel()
	m := start(t, etcd.MemberConfig{
		Name: "m1", Dir: filepath.Join(t.TempDir(), "etcd"),
		ClientURL: freeURL(t), PeerURL: freeURL(t), TLS: ours, Quick: true, Unsafe: true,
	})
	await(t, m)
	raw := rawClient(t, m.ClientURL())
	a, b := connect(t, m.ClientURL()), connect(t, m.ClientURL())
	coordtest.Run(t, func(t *testing.T) coordtest.Env {
		if _, err := raw.Delete(t.Context(), "/t/", clientv3.WithPrefix()); err != nil {
			t.Fatal(err)
		}
		return coordtest.Env{
			A: a, B: b, MinTTL: time.Second,
			Compact: func(t *testing.T, rev cluster.Rev) {
				if _, err := raw.Compact(t.Context(), int64(rev)); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}

// TestQuorumLossIsUnknownAndRecovers: with two of three members gone a write is
// of unknown outcome and a read fails; with one back both work, and what was
// acknowledged before is there.
func TestQuorumLossIsUnknownAndRecovers(t *testing.T) {
	t.Parallel()
	cfgs := trio(t)
	members := startAll(t, cfgs...)
	c := connect(t, cfgs[0].ClientURL)
	write := func(value string) error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _, err := c.Txn(ctx, coord.Txn{Then: []coord.Op{coord.Put("k", []byte(value))}})
		return err
	}
	if err := write("1"); err != nil {
		t.Fatal(err)
	}
	stopAll(t, members[1:]...)
	if err := write("2"); !errors.Is(err, coord.ErrUnknown) {
		t.Fatalf("write without a quorum: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, _, err := c.Get(ctx, "k"); !errors.Is(err, coord.ErrUnavailable) {
		t.Fatalf("read without a quorum: %v", err)
	}
	again := start(t, cfgs[1])
	await(t, again)
	deadline := time.Now().Add(10 * time.Second)
	for err := write("3"); err != nil; err = write("3") {
		if time.Now().After(deadline) {
			t.Fatalf("no write after the quorum came back: %v", err)
		}
	}
	wantValue(t, cfgs[1], "k", "3")
	start(t, cfgs[2]) // nobody is added while one is down
	addLater(t, cfgs, "3")
}

func TestMemberRefusesURLsWithoutTLSOrPort(t *testing.T) {
	base := etcd.MemberConfig{Name: "m1", Dir: t.TempDir(), ClientURL: "https://127.0.0.1:1", PeerURL: "https://127.0.0.1:2", TLS: ours}
	if _, err := etcd.NewMember(base); err != nil {
		t.Fatal(err)
	}
	plain, noPort := base, base
	plain.PeerURL = "http://127.0.0.1:2"
	noPort.ClientURL = "https://127.0.0.1"
	for name, cfg := range map[string]etcd.MemberConfig{"no TLS": plain, "no port": noPort} {
		if _, err := etcd.NewMember(cfg); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}
