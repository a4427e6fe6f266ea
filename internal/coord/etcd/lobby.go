package etcd

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"sync"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/client/pkg/v3/types"
)

const (
	// membersPath is where etcd's peer port tells its members.
	membersPath = "/members"
	// lobbyHeader names, in hexadecimal, the cluster that a waiting member would
	// found: the hash of its first members and token.
	lobbyHeader = "Tandemail-Founding"
	nameHeader  = "Tandemail-Member"
	// maxHeard bounds the names a lobby remembers.
	maxHeard = 64
)

// lobby holds this member's peer port while it has no data and no place in a
// cluster, and says so to those who ask. Raft finds nobody there: to the cluster
// this member is down.
type lobby struct {
	id   types.ID // of the cluster this member would found
	srv  *http.Server
	done chan struct{}

	mu    sync.Mutex
	heard map[string]bool // who asked, and would found the same
}

func openLobby(peer url.URL, info transport.TLSInfo, id types.ID) (*lobby, error) {
	l, err := transport.NewListener(peer.Host, peer.Scheme, &info)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", peer.Host, err)
	}
	o := &lobby{id: id, done: make(chan struct{}), heard: map[string]bool{}}
	o.srv = &http.Server{
		Handler: o, ReadTimeout: askTimeout, WriteTimeout: askTimeout, ErrorLog: log.New(io.Discard, "", 0),
	}
	go func() {
		defer close(o.done)
		_ = o.srv.Serve(l) // ends with close
	}()
	return o, nil
}

// ServeHTTP answers everything alike.
func (o *lobby) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if name := r.Header.Get(nameHeader); r.Header.Get(lobbyHeader) == o.id.String() {
		o.mu.Lock()
		if len(o.heard) < maxHeard {
			o.heard[name] = true
		}
		o.mu.Unlock()
	}
	w.Header().Set(lobbyHeader, o.id.String())
	http.Error(w, "this member has no data and waits", http.StatusServiceUnavailable)
}

// merge puts who asked here into a round of answers, where they gave none.
func (o *lobby) merge(round map[string]answer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for name, a := range round {
		if a.sight == unseen && o.heard[name] {
			round[name] = answer{sight: blank}
		}
	}
}

// close frees the port.
func (o *lobby) close() {
	_ = o.srv.Close() // the listener's error changes nothing
	<-o.done
}
