package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/tandemail/tandemail/internal/coord/etcd"
	"github.com/tandemail/tandemail/internal/metrics"
)

// member runs this machine's member of the coordinator, and starts it anew when the
// CAs in its file have changed: etcd's library reads them only then.
type member struct {
	cfg   etcd.MemberConfig
	first *etcd.Member
	asked chan restart
	now   atomic.Pointer[etcd.Member] // that runs, or did
}

// restart is a question whether the running member believes what is in the file.
type restart struct {
	ready chan (<-chan struct{}) // of the member that does; nil if it had no vote before
}

func newMember(cfg etcd.MemberConfig) (*member, error) {
	first, err := etcd.NewMember(cfg)
	if err != nil {
		return nil, err
	}
	return &member{cfg: cfg, first: first, asked: make(chan restart)}, nil
}

// Run is etcd.Member.Run for one member after the other.
func (o *member) Run(ctx context.Context) error {
	next := o.first
	for {
		believed, err := os.ReadFile(o.cfg.TLS.CA)
		if err != nil {
			return fmt.Errorf("read CA certificates: %w", err)
		}
		o.now.Store(next)
		running, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- next.Run(running) }()
		before := next.Ready()
		q, err := o.attend(ended, believed, before)
		stop()
		if q == nil {
			return err
		}
		if err := <-ended; err != nil || ctx.Err() != nil {
			return err
		}
		if next, err = etcd.NewMember(o.cfg); err != nil {
			return err
		}
		q.ready <- voted(before, next.Ready())
	}
}

// voted is then if a member with a vote has been ready before, so that it is worth
// to wait for.
func voted(before, then <-chan struct{}) <-chan struct{} {
	select {
	case <-before:
		return then
	default:
		return nil
	}
}

// attend answers until the member has ended, or has to.
func (o *member) attend(ended <-chan error, believed []byte, ready <-chan struct{}) (*restart, error) {
	for {
		select {
		case err := <-ended:
			return nil, err
		case q := <-o.asked:
			now, err := os.ReadFile(o.cfg.TLS.CA)
			if err != nil || bytes.Equal(now, believed) {
				q.ready <- voted(ready, ready) // what cannot be read is no reason to stop
				continue
			}
			return &q, nil
		}
	}
}

// Believe returns when the running member believes the CAs that are in the file, and
// has its vote again if it had one.
func (o *member) Believe(ctx context.Context) error {
	q := restart{make(chan (<-chan struct{}), 1)}
	fail := func() error {
		return errors.Join(errors.New("this machine's member of the coordinator is not up"), context.Cause(ctx))
	}
	select {
	case o.asked <- q:
	case <-ctx.Done():
		return fail()
	}
	var ready <-chan struct{}
	select {
	case ready = <-q.ready:
	case <-ctx.Done():
		return fail()
	}
	if ready == nil {
		return nil
	}
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return fail()
	}
}

// database is for the metrics.
func (o *member) database() metrics.Database {
	if m := o.now.Load(); m != nil {
		return metrics.Database(m.Space())
	}
	return metrics.Database{}
}
