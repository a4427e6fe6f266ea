package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tandemail/tandemail/internal/cluster"
)

// unknownStores names the stores that machines have copies of, which had a master,
// and that the coordinator has no record of; "" if there are none. New stores are
// told by their epoch: nobody but this controller gives the first.
func (d *decision) unknownStores() string {
	where := map[cluster.Store][]string{}
	for i := range d.snap.Machines {
		m := &d.snap.Machines[i]
		if !d.fresh(m) {
			continue
		}
		for _, st := range m.Slots {
			if st.Epoch > 0 && !d.knows(st.Store) {
				where[st.Store] = append(where[st.Store], string(m.Machine))
			}
		}
	}
	var list []string
	for s, machines := range where {
		list = append(list, fmt.Sprintf("store %s, which is on %s", s, strings.Join(machines, " and ")))
	}
	slices.Sort(list)
	if n := len(list); n > 3 {
		list = append(list[:3], fmt.Sprintf("%d more", n-3))
	}
	return strings.Join(list, ", ")
}

func (d *decision) knows(s cluster.Store) bool {
	return slices.ContainsFunc(d.snap.Stores, func(x Store) bool { return x.Store == s })
}
