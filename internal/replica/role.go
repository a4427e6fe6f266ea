package replica

import (
	"fmt"
	"slices"
	"strings"
)

// Role is what a slot does in its store.
type Role uint8

// Roles. A frozen slot keeps its role.
const (
	RoleIdle      Role = iota // opened; the record or a session is not known yet
	RoleReplica               // follows, may be promoted
	RoleLogOnly               // follows without an index: counts for commit, never promoted
	RoleAsync                 // follows, never counts
	RoleSeeding               // a copy in the making
	RoleCandidate             // nominated: asks the coordinator; follows meanwhile
	RoleMaster
	RoleFailed // its data may not be used
	RoleEnded  // this incarnation is over
	numRoles
)

var roleNames = [numRoles]string{"idle", "replica", "log-only", "async", "seeding", "candidate", "master", "failed", "ended"}

func (r Role) String() string { return roleNames[r] }

// traits are what a role allows; everything else follows from them.
type traits struct {
	acks    bool // acknowledges what it has made durable
	counts  bool // may be in the in-sync set
	promote bool // may be nominated
	appends bool // gives LSNs
	to      []Role
}

var roles = [numRoles]traits{
	RoleIdle: {to: []Role{RoleReplica, RoleLogOnly, RoleAsync, RoleSeeding, RoleFailed, RoleEnded}},
	RoleReplica: {
		acks: true, counts: true, promote: true,
		to: []Role{RoleCandidate, RoleMaster, RoleFailed, RoleEnded},
	},
	RoleLogOnly: {acks: true, counts: true, to: []Role{RoleFailed, RoleEnded}},
	RoleAsync:   {acks: true, to: []Role{RoleFailed, RoleEnded}},
	RoleSeeding: {acks: true, to: []Role{RoleFailed, RoleEnded}},
	RoleCandidate: {
		acks: true, counts: true, promote: true,
		to: []Role{RoleReplica, RoleMaster, RoleFailed, RoleEnded},
	},
	RoleMaster: {counts: true, appends: true, to: []Role{RoleReplica, RoleFailed, RoleEnded}},
	RoleFailed: {},
	RoleEnded:  {},
}

// become changes the role. A step the table lacks is a bug in this package; the
// panic fails this one slot.
func (c *Core) become(r Role) {
	if r == c.role {
		return
	}
	if !slices.Contains(roles[c.role].to, r) {
		panic(fmt.Sprintf("replica: %v cannot become %v", c.role, r))
	}
	c.role = r
}

// following is the role this slot has while another is master.
func (c *Core) following() Role {
	switch {
	case c.health == Seeding:
		return RoleSeeding
	case c.cfg.Kind == LogOnly:
		return RoleLogOnly
	case c.cfg.Kind == Async:
		return RoleAsync
	}
	return RoleReplica
}

// RoleTable prints what each role allows and may become.
func RoleTable() string {
	var b strings.Builder
	mark := map[bool]string{true: "yes", false: "-"}
	fmt.Fprintf(&b, "%-10s %-5s %-7s %-9s %-8s %s\n", "role", "acks", "counts", "promoted", "appends", "becomes")
	for r := range numRoles {
		t := roles[r]
		var to []string
		for _, x := range t.to {
			to = append(to, x.String())
		}
		fmt.Fprintf(&b, "%-10s %-5s %-7s %-9s %-8s %s\n", r, mark[t.acks], mark[t.counts], mark[t.promote], mark[t.appends], strings.Join(to, " "))
	}
	return b.String()
}
