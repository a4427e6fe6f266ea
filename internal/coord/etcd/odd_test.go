package etcd

import (
	"testing"

	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
)

// Letters are members in their order: V has a vote, L is a learner, l one that has
// not started yet.
func TestALearnerIsCalledWhenVotesBecomeOdd(t *testing.T) {
	for members, want := range map[string]bool{
		"VL": false, "Vl": false, "VLl": false, "VLL": true, "VVL": true, "VVVL": false, "VVVLL": true, "VVVVL": true,
	} {
		var list []*membership.Member
		for _, c := range members {
			m := &membership.Member{RaftAttributes: membership.RaftAttributes{IsLearner: c != 'V'}}
			if c != 'l' {
				m.Name = "m"
			}
			list = append(list, m)
		}
		if got := called(list); got != want {
			t.Errorf("%s: %v", members, got)
		}
	}
}
