package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/link"
	"github.com/tandemail/tandemail/internal/pki"
)

// rotation reads the record of the last change of the cluster's CA. The zero record
// with revision 0: there was none.
func (m *machine) rotation(ctx context.Context) (rec coord.RotationRecord, rev cluster.Rev, err error) {
	v, rev, err := m.coord.Get(ctx, coord.RotationKey)
	if err != nil || rev == 0 {
		return rec, rev, err
	}
	rec, err = coord.Decode[coord.RotationRecord](coord.KV{Key: coord.RotationKey, Value: v})
	return rec, rev, err
}

func successor(rec coord.RotationRecord) pki.Successor {
	return pki.Successor{Certificate: rec.Certificate, Proof: rec.Proof}
}

// keepStep does here what the change of the CA asks of every machine at its present
// stage. It may be asked again, and of a machine that was left out.
func (m *machine) keepStep(ctx context.Context) error {
	select {
	case m.stepping <- struct{}{}:
		defer func() { <-m.stepping }()
	case <-ctx.Done():
		return ctx.Err()
	}
	rec, rev, err := m.rotation(ctx)
	if err != nil || rev == 0 {
		return err
	}
	switch rec.Stage {
	case coord.StageBelieve:
		err = m.believe(ctx, successor(rec))
	case coord.StageRenew:
		err = m.renewUnder(ctx, rec)
	case coord.StageForget, coord.StageDone:
		err = m.forget(ctx, rec)
	default:
		err = fmt.Errorf("change of the CA at stage %q: %w", rec.Stage, cluster.ErrNewer)
	}
	if err != nil {
		return err
	}
	if err := m.identity.Reload(); err != nil {
		return err
	}
	if m.member == nil {
		return nil
	}
	return m.member.Believe(ctx)
}

// believe takes the new CA's key before its certificate, so that a machine which
// issues and believes it can always issue with it.
func (m *machine) believe(ctx context.Context, s pki.Successor) error {
	if m.issues() {
		if err := m.fetchKey(ctx, s); err != nil {
			return err
		}
	}
	return s.Believe(m.cfg.PKI.Dir)
}

// fetchKey gets the new CA's key from whoever has it, if it is not here.
func (m *machine) fetchKey(ctx context.Context, s pki.Successor) error {
	if has, err := s.KeyIn(m.cfg.PKI.Dir); err != nil || has {
		return err
	}
	ca, err := pki.LoadCA(m.cfg.PKI.Dir, time.Now)
	if err != nil {
		return err
	}
	proof, err := ca.AskKey(m.identity.Key)
	if err != nil {
		return err
	}
	errs := []error{errors.New("the new CA's key is on no machine that answers")}
	for _, name := range m.issuers() {
		if name == m.name {
			continue
		}
		key, err := m.askKey(ctx, name, proof)
		if err == nil {
			err = s.TakeKey(m.cfg.PKI.Dir, key)
		}
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (m *machine) askKey(ctx context.Context, name cluster.Machine, proof []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, renewTime)
	defer cancel()
	answer, err := m.askControl(ctx, name, controlRequest{Method: "next-key", Proof: proof})
	return []byte(answer.Key), err
}

// giveKey answers askKey.
func (m *machine) giveKey(ctx context.Context, peer link.Peer, proof []byte) ([]byte, error) {
	rec, rev, err := m.rotation(ctx)
	if err != nil {
		return nil, err
	}
	if rev == 0 {
		return nil, errors.New("the CA is not being replaced")
	}
	return successor(rec).GiveKey(m.cfg.PKI.Dir, peer.Key, proof)
}

// renewUnder lets this machine issue with the new CA, if it issues, and gets its own
// certificate from there.
func (m *machine) renewUnder(ctx context.Context, rec coord.RotationRecord) error {
	s := successor(rec)
	if err := m.believe(ctx, s); err != nil { // it was off until now
		return err
	}
	if m.issues() {
		if err := s.Issue(m.cfg.PKI.Dir); err != nil {
			return err
		}
	}
	under, err := m.certifiedBy(rec.New)
	if err != nil || under {
		return err
	}
	now, err := pki.Load(m.cfg.PKI.Dir)
	if err != nil {
		return err
	}
	if err := m.renewNow(ctx, now); err != nil {
		return err
	}
	if under, err = m.certifiedBy(rec.New); err == nil && !under {
		err = errors.New("no machine that answers issues with the new CA yet")
	}
	return err
}

func (m *machine) certifiedBy(ca string) (bool, error) {
	id, err := pki.Load(m.cfg.PKI.Dir)
	if err != nil {
		return false, err
	}
	key, err := id.Issuer()
	return key.String() == ca, err
}

// forget lets this machine believe the new CA alone. One that was left out, or
// replaced later, has nothing to forget.
func (m *machine) forget(_ context.Context, rec coord.RotationRecord) error {
	under, err := m.certifiedBy(rec.New)
	if err != nil || !under {
		if err == nil && (rec.Stage == coord.StageForget || slices.Contains(rec.Without, m.name)) {
			err = errors.New("this machine's certificate is not from the new CA: it has to join again")
		}
		return err
	}
	return successor(rec).Settle(m.cfg.PKI.Dir)
}
