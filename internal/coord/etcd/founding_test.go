package etcd

import (
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
)

func trioFounding(t *testing.T, join bool) *founding {
	t.Helper()
	f, err := newFounding(MemberConfig{
		Name: "m1", PeerURL: "http://10.0.0.1:2380", Token: "t", Join: join,
		InitialCluster: map[string]string{"m1": "http://10.0.0.1:2380", "m2": "http://10.0.0.2:2380", "m3": "http://10.0.0.3:2380"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Each round says what m2 and m3 show, at which second, and whether m1 founds then.
func TestWhoHasNoDataFoundsOnlyWithOthersThatHaveNone(t *testing.T) {
	type round struct {
		at     int
		m2, m3 sight
		founds bool
	}
	for name, tc := range map[string]struct {
		join   bool
		rounds []round
	}{
		"together, at once":             {rounds: []round{{0, blank, unseen, false}, {0, blank, blank, true}}},
		"one after the other":           {rounds: []round{{0, blank, unseen, false}, {1, unseen, blank, true}}},
		"others have founded meanwhile": {rounds: []round{{0, blank, unseen, false}, {1, running, blank, true}}},
		"one is late":                   {rounds: []round{{0, blank, unseen, false}, {2, blank, unseen, false}, {3, blank, unseen, true}}},
		"all are silent":                {rounds: []round{{0, unseen, unseen, false}, {1000, unseen, unseen, false}}},
		"another configuration":         {rounds: []round{{0, foreign, unseen, false}, {1000, foreign, foreign, false}}},
		"one has data": {rounds: []round{
			{0, blank, running, false}, {4, blank, running, false}, {9, blank, unseen, false}, {1000, blank, blank, false},
		}},
		"told to join": {join: true, rounds: []round{{0, blank, blank, false}, {1000, blank, blank, false}}},
	} {
		f := trioFounding(t, tc.join)
		for i, r := range tc.rounds {
			got := f.note(time.Unix(int64(r.at), 0), map[string]answer{"m2": {sight: r.m2}, "m3": {sight: r.m3}})
			if got != r.founds {
				t.Errorf("%s, round %d: founds %v", name, i, got)
			}
		}
	}
}

// A member that has joined a cluster but has not caught up shows nobody's client
// URLs either; its own identity tells it from a founder.
func TestOnlyTheVeryFirstMembersAreFounding(t *testing.T) {
	f := trioFounding(t, false)
	list := func() []*membership.Member {
		var out []*membership.Member
		for id := range f.members {
			out = append(out, &membership.Member{ID: id})
		}
		return out
	}
	served, replaced := list(), list()
	served[0].ClientURLs = []string{"http://10.0.0.2:2379"}
	replaced[0].ID++
	for name, tc := range map[string]struct {
		id      types.ID
		members []*membership.Member
		want    sight
	}{
		"first members":    {f.id, list(), blank},
		"one has served":   {f.id, served, running},
		"one was replaced": {f.id, replaced, running},
		"one was removed":  {f.id, list()[1:], running},
		"another cluster":  {f.id + 1, list(), running},
	} {
		if got := f.judge(tc.id, tc.members).sight; got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
