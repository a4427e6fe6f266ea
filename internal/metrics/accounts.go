package metrics

import "github.com/tandemail/tandemail/internal/remote"

// accounts are those that sessions on other machines have open here, and the reverse.
type accounts struct {
	streams, views, staged, asked *family
	open, repeats                 *family

	shared func() remote.ServerStats
	remote func() remote.Stats
}

func newAccounts(t *table, s Sources) *accounts {
	return &accounts{
		streams: t.gauge("account_streams_open", "Accounts of slots here that other machines have open for their sessions."),
		views:   t.gauge("account_views_open", "Views that they have open."),
		staged:  t.gauge("account_staged_bytes", "Octets of messages that they are adding."),
		asked:   t.counter("account_requests_total", "What they asked of these accounts, by what it came to.", "result"),
		open:    t.gauge("remote_accounts_open", "Accounts of slots elsewhere that sessions here have open."),
		repeats: t.counter("remote_account_repeats_total", "What was asked of them again, since a master was lost or took nothing."),
		shared:  s.Shared, remote: s.Accounts,
	}
}

func (a *accounts) collect(o out) {
	if a.shared != nil {
		st := a.shared()
		o.set(a.streams, float64(st.Streams))
		o.set(a.views, float64(st.Views))
		o.set(a.staged, float64(st.Staged))
		for outcome, n := range st.Asked {
			o.set(a.asked, float64(n), outcome)
		}
	}
	if a.remote != nil {
		st := a.remote()
		o.set(a.open, float64(st.Open))
		o.set(a.repeats, float64(st.Repeats))
	}
}
