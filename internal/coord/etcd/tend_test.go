package etcd_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/coord/etcd"
)

// TestAFullDatabaseIsRelieved: it fills with what was overwritten. Nothing is lost and
// clients are told; when the past is compacted the member makes room and goes on, alone.
func TestAFullDatabaseIsRelieved(t *testing.T) {
	t.Parallel()
	const quota = 4 << 20
	m := start(t, etcd.MemberConfig{
		Name: "m1", Dir: filepath.Join(t.TempDir(), "etcd"), Quota: quota, Tend: 50 * time.Millisecond,
		ClientURL: freeURL(t), PeerURL: freeURL(t), TLS: ours, Quick: true, Unsafe: true,
	})
	await(t, m)
	c, raw := connect(t, m.ClientURL()), rawClient(t, m.ClientURL())
	if full, err := c.Full(t.Context()); err != nil || full {
		t.Fatalf("full at first: %v, %v", full, err)
	}
	put := func(key, value string) error {
		_, err := raw.Put(t.Context(), key, value)
		return err
	}
	if err := put("kept", "precious"); err != nil {
		t.Fatal(err)
	}
	big := strings.Repeat("x", 64<<10)
	var err error
	for range 2 * quota / len(big) {
		if err = put("k", big); err != nil {
			break
		}
	}
	if !errors.Is(err, rpctypes.ErrNoSpace) {
		t.Fatalf("writing beyond the quota: %v", err)
	}
	if _, _, err := c.Txn(t.Context(), coord.Txn{Then: []coord.Op{{Key: "other", Value: []byte("x")}}}); err == nil {
		t.Error("a change was accepted")
	}
	if full, err := c.Full(t.Context()); err != nil || !full {
		t.Errorf("full: %v, %v", full, err)
	}
	v, rev, err := c.Get(t.Context(), "kept")
	if err != nil || string(v) != "precious" {
		t.Fatalf("got %q, %v", v, err)
	}
	now, err := raw.Get(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raw.Compact(t.Context(), now.Header.Revision); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); put("k", "small") != nil; <-time.After(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("nothing can be written; %+v", m.Space())
		}
	}
	if s := m.Space(); s.File > quota/5*4 || s.Quota != quota {
		t.Errorf("%+v", s)
	}
	if v, again, err := c.Get(t.Context(), "kept"); err != nil || string(v) != "precious" || again != rev {
		t.Errorf("got %q at %d, had it at %d: %v", v, again, rev, err)
	}
}
