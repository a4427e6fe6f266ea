package app

import (
	"context"
	"crypto/x509"
	"log/slog"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/pki"
)

// struck are the keys that are no machine's any more. The coordinator's member here
// refuses them: it cannot go by the membership, which it is the way to. New
// connections it looks up in a file, for calls on those that there are it asks refuse.
type struck struct {
	dir string // of the file; "" has none

	mu   sync.Mutex
	keys map[string]bool
}

// keepIn makes sure of the file in dir: an earlier one holds until more is known.
func (s *struck) keepIn(dir string) error {
	s.dir = dir
	if pki.HasStruck(dir) {
		return nil
	}
	return pki.WriteStruck(dir, nil, time.Now())
}

// follow keeps up with the coordinator until ctx ends. What was struck stays so.
func (s *struck) follow(ctx context.Context, c coord.Coord, log *slog.Logger) error {
	return coord.Follow(ctx, c, coord.Following{Prefix: coord.StruckPrefix}, func(u coord.Update) {
		if err := s.write(s.add(u)); err != nil {
			log.Error("struck keys are not refused by the coordinator's member on new connections", "err", err)
		}
	})
}

// add returns all keys, nil if none is new.
func (s *struck) add(u coord.Update) (all []pki.KeyID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.keys)
	for _, kv := range u.All {
		s.keys[coord.NameOf(kv.Key)] = true
	}
	for _, change := range u.Changes {
		s.keys[coord.NameOf(change.Key)] = true
	}
	if len(s.keys) == before {
		return nil
	}
	for name := range s.keys {
		var id pki.KeyID
		if id.UnmarshalText([]byte(name)) == nil {
			all = append(all, id)
		}
	}
	return all
}

func (s *struck) write(all []pki.KeyID) error {
	if s.dir == "" || len(all) == 0 {
		return nil
	}
	return pki.WriteStruck(s.dir, all, time.Now())
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
