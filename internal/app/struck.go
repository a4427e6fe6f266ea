package app

import (
	"context"
	"crypto/x509"
	"sync"

	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/pki"
)

// struck are the keys that are no machine's any more. The coordinator's member here
// refuses them: it cannot go by the membership, which it is the way to.
type struck struct {
	mu   sync.Mutex
	keys map[string]bool
}

// follow keeps up with the coordinator until ctx ends. What was struck stays so.
func (s *struck) follow(ctx context.Context, c coord.Coord) error {
	return coord.Follow(ctx, c, coord.Following{Prefix: coord.StruckPrefix}, func(u coord.Update) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, kv := range u.All {
			s.keys[coord.NameOf(kv.Key)] = true
		}
		for _, change := range u.Changes {
			s.keys[coord.NameOf(change.Key)] = true
		}
	})
}

// refuse implements etcd.MemberConfig.Refuse.
func (s *struck) refuse(cert *x509.Certificate) error {
	key, err := pki.KeyOf(cert)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys[key.String()] {
		return errNoMember
	}
	return nil
}
