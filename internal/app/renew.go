package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/link"
	"github.com/tandemail/tandemail/internal/pki"
)

const (
	// renewEvery is between two looks at this machine's certificate.
	renewEvery = time.Hour
	// renewTime bounds the question to one machine.
	renewTime = 5 * time.Second
)

// keepCertified renews this machine's certificate every half year,
// for the same key, until ctx ends. What is written is read by the coordinator's
// library at its next connection; the internal port goes by the key alone. It also
// takes the step of a change of the CA that was missed while the machine was off.
func (m *machine) keepCertified(ctx context.Context) error {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		if err := m.keepStep(ctx); err != nil && ctx.Err() == nil {
			m.log.Warn("this machine did not follow the change of the cluster's CA", "err", err)
		}
		if err := m.renew(ctx); err != nil && ctx.Err() == nil {
			m.log.Warn("this machine's certificate was not renewed", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// renew does nothing while the certificate is young.
func (m *machine) renew(ctx context.Context) error {
	now, err := pki.Load(m.cfg.PKI.Dir)
	if err != nil {
		return err
	}
	if !now.Due(time.Now()) {
		return nil
	}
	return m.renewNow(ctx, now)
}

func (m *machine) renewNow(ctx context.Context, now *pki.Identity) error {
	csr, err := pki.NewRequest(m.cfg.PKI.Dir, m.name)
	if err != nil {
		return err
	}
	cert, err := m.certify(ctx, csr)
	if err != nil {
		return err
	}
	if err := pki.Install(m.cfg.PKI.Dir, cert, now.TrustPEM()); err != nil {
		return err
	}
	if err := m.identity.Reload(); err != nil {
		return err
	}
	m.log.Info("this machine's certificate is renewed")
	return m.putMachine(ctx, func(*coord.MachineRecord) {})
}

// certify asks who may issue: this machine, or others until one does.
func (m *machine) certify(ctx context.Context, csr []byte) ([]byte, error) {
	if m.issues() {
		return m.issue(csr, link.Peer{Machine: m.name, Key: m.identity.Key})
	}
	errs := []error{errors.New("no machine issues certificates")}
	for _, name := range m.issuers() {
		cert, err := m.askToIssue(ctx, name, csr)
		if err == nil {
			return cert, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (m *machine) askToIssue(ctx context.Context, name cluster.Machine, csr []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, renewTime)
	defer cancel()
	answer, err := m.askControl(ctx, name, controlRequest{Method: "renew", CSR: string(csr)})
	if err == nil && answer.Certificate == "" {
		err = errors.New("no certificate in the answer")
	}
	return []byte(answer.Certificate), err
}

// issue certifies the key that the asking machine is known by, and no other.
func (m *machine) issue(csr []byte, peer link.Peer) ([]byte, error) {
	ca, err := pki.LoadCA(m.cfg.PKI.Dir, time.Now)
	if err != nil {
		return nil, err
	}
	cert, name, key, err := ca.Sign(csr)
	if err != nil {
		return nil, err
	}
	if name != peer.Machine || key != peer.Key {
		return nil, fmt.Errorf("machine %s asks for the certificate of %s, or with another key than it has", peer.Machine, name)
	}
	return cert, nil
}

// certificateEnd is when this machine's certificate should be renewed at the latest; zero if it cannot be read.
func (m *machine) certificateEnd() time.Time {
	id, err := pki.Load(m.cfg.PKI.Dir)
	if err != nil {
		return time.Time{}
	}
	return id.RenewBy()
}
