package etcd_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/coord/etcd"
)

// A cluster founded by one member has one vote, then three: never two.
func TestClusterGrowsFromOneVoteToThree(t *testing.T) {
	t.Parallel()
	dir, urls := t.TempDir(), freeURLs(t, 6)
	config := func(i int) etcd.MemberConfig {
		return etcd.MemberConfig{
			Name: fmt.Sprint("m", i+1), Dir: filepath.Join(dir, fmt.Sprint(i)), ClientURL: urls[2*i], PeerURL: urls[2*i+1],
			Endpoints: urls[:1], Token: "grow", Join: i > 0, Odd: true, TLS: ours, Quick: true, Unsafe: true,
		}
	}
	first := start(t, config(0))
	await(t, first)
	c := connect(t, first.ClientURL())
	second := start(t, config(1))
	deadline := time.Now().Add(time.Minute)
	for learners := 0; learners == 0; {
		members, err := c.Members(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range members {
			if m.Name == "m2" && m.Learner {
				learners++
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("members %+v", members)
		}
	}
	select {
	case <-second.Ready():
		t.Fatal("the second member has a vote")
	default:
	}
	third := start(t, config(2))
	await(t, second)
	await(t, third)
	if ids := memberIDs(t, config(0)); len(ids) != 3 {
		t.Errorf("members %v", ids)
	}
	if err := c.Remove(t.Context(), "m9"); err != nil {
		t.Errorf("remove a member that is none: %v", err)
	}
}
