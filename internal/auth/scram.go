package auth

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strconv"
)

// SCRAMSetting is the cluster's for SCRAM.
type SCRAMSetting struct {
	// Iterations of the verifiers that are made.
	Iterations int `json:"iterations"`
	// Key makes up the salts of users who have no verifier, the same at every front
	// end and for ever, so that nobody is told who has one. Secret.
	Key []byte `json:"key"`
}

// SetSCRAM says how SCRAM works from now on; nil: not at all.
func (a *Authenticator) SetSCRAM(s *SCRAMSetting) { a.scram.Store(s) }

const serverNonce = 18 // octets

// scram is SCRAM-SHA-256 (RFC 5802, RFC 7677), and with plus that whose proof is bound
// to the TLS connection.
//
// It is our own, since all of it is about who learns what: a user without a verifier and
// a stranger go the way of everybody else, to the end.
type scram struct {
	auth    *Authenticator
	peer    *Peer
	setting *SCRAMSetting
	plus    bool

	step   int
	first  clientFirst
	by     claimant
	has    bool     // a verifier of its own; else what follows is made up
	v      verifier // of the user
	server []byte   // our first message
	nonce  string   // the client's and ours
	id     Identity
}

// Next implements Exchange.
func (s *scram) Next(ctx context.Context, response []byte) ([]byte, *Identity, error) {
	if response == nil && s.step == 0 {
		return []byte{}, nil, nil
	}
	s.step++
	switch s.step {
	case 1:
		challenge, err := s.begin(ctx, response)
		return challenge, nil, err
	case 2:
		challenge, err := s.prove(ctx, response)
		return challenge, nil, err
	case 3:
		if len(response) == 0 {
			return nil, &s.id, nil
		}
	}
	return nil, nil, fmt.Errorf("SCRAM: %w", ErrSyntax)
}

// begin answers the client's first message with salt and iterations, which are made up
// for who has none.
func (s *scram) begin(ctx context.Context, message []byte) (challenge []byte, err error) {
	if s.first, err = parseClientFirst(message); err != nil {
		return nil, err
	}
	switch {
	case s.plus != (s.first.flag == 'p'):
		return nil, fmt.Errorf("SCRAM: channel binding and mechanism are not of one kind: %w", ErrSyntax)
	case s.plus && s.peer.bindings[s.first.binding] == nil:
		return nil, fmt.Errorf("SCRAM: channel binding of an unknown kind: %w", ErrSyntax)
	case s.first.flag == 'y' && len(s.peer.bindings) > 0:
		// It would have bound, had it been told that we can: somebody has cut our list.
		s.auth.failed("", s.peer.remote)
		return nil, fmt.Errorf("SCRAM: the list of mechanisms was changed on its way: %w", ErrFailed)
	}
	if s.by, err = s.auth.claim(ctx, s.first.user); err != nil {
		return nil, err
	}
	if err := s.choose(); err != nil {
		return nil, err
	}
	ours := make([]byte, serverNonce)
	if _, err := io.ReadFull(s.auth.cfg.Rand, ours); err != nil {
		return nil, fmt.Errorf("%w: draw a nonce: %w", ErrUnavailable, err)
	}
	s.nonce = s.first.nonce + base64.RawStdEncoding.EncodeToString(ours)
	s.server = []byte("r=" + s.nonce + ",s=" + base64.StdEncoding.EncodeToString(s.v.salt) + ",i=" + strconv.Itoa(s.v.iterations))
	return s.server, nil
}

// choose takes the user's verifier, or makes one up that nobody can prove.
func (s *scram) choose() (err error) {
	madeUp := mac(s.setting.Key, "salt\x00", s.by.name)
	s.has = s.by.user.Verifier != ""
	if s.v, err = parseVerifier(cmp.Or(s.by.user.Verifier, s.auth.nobodys)); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if !s.has {
		s.v.salt, s.v.iterations = madeUp[:saltLen], s.setting.Iterations
	}
	return nil
}

// prove looks at the client's proof and gives ours, which the client has to answer.
func (s *scram) prove(ctx context.Context, message []byte) (challenge []byte, err error) {
	m, err := parseClientFinal(message)
	if err != nil {
		return nil, err
	}
	if m.nonce != s.nonce || len(m.proof) != sha256.Size {
		return nil, fmt.Errorf("SCRAM: nonce or proof: %w", ErrSyntax)
	}
	said := string(slices.Concat(s.first.bare, []byte{','}, s.server, []byte{','}, m.withoutProof))
	signature := mac(s.v.storedKey[:], said)
	var clientKey [sha256.Size]byte
	subtle.XORBytes(clientKey[:], signature[:], m.proof)
	if !bytes.Equal(m.channel, slices.Concat(s.first.octets, s.peer.bindings[s.first.binding])) {
		clear(clientKey[:]) // somebody is in between, and knows the right one
	}
	storedKey := sha256.Sum256(clientKey[:])
	right := subtle.ConstantTimeCompare(storedKey[:], s.v.storedKey[:]) == 1
	err = s.auth.prove(s.by, s.by.user.Verifier, string(clientKey[:]), s.peer.remote, func() (bool, error) {
		return right && s.has, nil
	})
	if err != nil {
		return nil, err
	}
	if s.id, err = s.auth.authorise(ctx, s.by.user, s.first.authzid); err != nil {
		return nil, err
	}
	answer := mac(s.v.serverKey[:], said)
	return []byte("v=" + base64.StdEncoding.EncodeToString(answer[:])), nil
}
