package metrics

import (
	"github.com/tandemail/tandemail/internal/directory"
	"github.com/tandemail/tandemail/internal/route"
)

// clusterView is what this machine knows of the cluster: its routes and its copy
// of the directory.
type clusterView struct {
	stores, masterless   *family
	users, aliases, live *family

	routes    func() []route.Route
	directory func() directory.Stats
}

func newCluster(t *table, s Sources) *clusterView {
	return &clusterView{
		stores:     t.gauge("routes", "Stores that this machine knows of."),
		masterless: t.gauge("routes_without_master", "Stores of which this machine knows no master."),
		users:      t.gauge("directory_users", "Users in this machine's copy of the directory."),
		aliases:    t.gauge("directory_aliases", "Aliases in this machine's copy of the directory."),
		live:       t.gauge("directory_live", "1 if this machine's copy of the directory is being fed; 0: unknown users are deferred, not refused."),
		routes:     s.Routes, directory: s.Directory,
	}
}

func (c *clusterView) collect(o out) {
	if c.routes != nil {
		all, without := c.routes(), 0
		for _, r := range all {
			if r.Master == "" {
				without++
			}
		}
		o.set(c.stores, float64(len(all)))
		o.set(c.masterless, float64(without))
	}
	if c.directory != nil {
		st := c.directory()
		o.set(c.users, float64(st.Users))
		o.set(c.aliases, float64(st.Aliases))
		o.flag(c.live, st.Live)
	}
}
