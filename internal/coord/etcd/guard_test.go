package etcd_test

import (
	"crypto/x509"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/coord/etcd"
)

// Whose key is struck has no connection that goes on.
func TestARefusedClientIsCutOffInTheMiddleOfAConnection(t *testing.T) {
	t.Parallel()
	var struck atomic.Bool
	m := start(t, etcd.MemberConfig{
		Name: "m1", Dir: filepath.Join(t.TempDir(), "etcd"), ClientURL: freeURL(t), PeerURL: freeURL(t),
		TLS: ours, Quick: true, Unsafe: true,
		Refuse: func(cert *x509.Certificate) error {
			if struck.Load() && cert != nil {
				return errors.New("struck")
			}
			return nil
		},
	})
	await(t, m)
	c := rawClient(t, m.ClientURL())
	watch := c.Watch(t.Context(), "k", clientv3.WithCreatedNotify())
	<-watch
	if _, err := c.Put(t.Context(), "k", "1"); err != nil {
		t.Fatal(err)
	}
	if got := <-watch; len(got.Events) != 1 {
		t.Fatalf("watched %+v", got)
	}
	struck.Store(true)
	if _, err := c.Put(t.Context(), "k", "2"); status.Code(err) != codes.PermissionDenied {
		t.Errorf("write: %v", err)
	}
	if _, err := c.Get(t.Context(), "k"); status.Code(err) != codes.PermissionDenied {
		t.Errorf("read: %v", err)
	}
	if _, _, err := connect(t, m.ClientURL()).Get(t.Context(), "k"); !errors.Is(err, coord.ErrRefused) {
		t.Errorf("our own client: %v", err)
	}
	if err := c.RequestProgress(t.Context()); err != nil {
		t.Fatal(err)
	}
	timeout := time.After(10 * time.Second)
	for {
		select {
		case got, open := <-watch:
			if !open {
				return
			}
			if len(got.Events) > 0 {
				t.Errorf("watched %+v", got)
			}
		case <-timeout:
			t.Fatal("the watch goes on")
		}
	}
}
