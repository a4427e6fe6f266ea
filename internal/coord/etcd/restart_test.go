package etcd_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/coord/etcd"
	"github.com/tandemail/tandemail/internal/pki"
)

// TestAMemberIsStartedAnewUnderClientsThatAskAtOnceAgain and believes what its file
// says then.
func TestAMemberIsStartedAnewUnderClientsThatAskAtOnceAgain(t *testing.T) {
	t.Parallel()
	s := makeSite(t)
	cfg := etcd.MemberConfig{
		Name: "m1", Dir: filepath.Join(t.TempDir(), "etcd"), ClientURL: freeURL(t), PeerURL: freeURL(t),
		TLS: s.files(t, "m1"), Quick: true, Unsafe: true,
	}
	m := start(t, cfg)
	await(t, m)
	client := func(files etcd.Files) *etcd.Client {
		c, err := etcd.Connect(etcd.Config{Endpoints: []string{cfg.ClientURL}, TLS: files})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	for range 8 {
		c := client(cfg.TLS)
		asking.Go(func() {
			for ctx.Err() == nil {
				for range c.Watch(ctx, "k", 0) {
				}
			}
		})
		asking.Go(func() {
			for ctx.Err() == nil {
				_, _, _ = c.Get(ctx, "k")
			}
		})
	}

	next, err := s.ca.CreateSuccessor(filepath.Join(s.dir, "ca"), "test")
	for _, dir := range []string{"ca", "m1"} {
		err = errors.Join(err, next.Believe(filepath.Join(s.dir, dir)))
	}
	if err = errors.Join(err, next.Issue(filepath.Join(s.dir, "ca"))); err != nil {
		t.Fatal(err)
	}
	if err := m.stop(); err != nil {
		t.Fatal(err)
	}
	m = start(t, cfg)
	await(t, m)
	if s.ca, err = pki.LoadCA(filepath.Join(s.dir, "ca"), time.Now); err != nil {
		t.Fatal(err)
	}
	s.files(t, "m1") // renewed
	if _, _, err := client(s.files(t, "m2")).Get(t.Context(), "k"); err != nil {
		t.Errorf("a machine certified by the new CA: %v", err)
	}
}
