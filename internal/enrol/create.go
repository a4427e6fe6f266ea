package enrol

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/pki"
)

// Create makes a token for what rec allows, until rec.Expires, and removes those
// that have expired.
func Create(ctx context.Context, c coord.Coord, authority pki.KeyID, addresses []string, rec coord.TokenRecord, random io.Reader) (Token, error) {
	if err := sweep(ctx, c, rec.Made); err != nil {
		return Token{}, err
	}
	t, err := NewToken(authority, addresses, random)
	if err != nil {
		return Token{}, err
	}
	rev, err := settled(ctx, c)
	if err != nil {
		return Token{}, err
	}
	ok, _, err := c.Txn(ctx, coord.Txn{
		If:   []coord.Compare{{Key: coord.RotationKey, Rev: rev}},
		Then: []coord.Op{coord.Put(coord.TokenKey(t.Hash()), coord.Encode(rec))},
	})
	switch {
	case err != nil:
		return Token{}, fmt.Errorf("write token: %w", err)
	case !ok:
		return Token{}, errRotating
	}
	return t, nil
}

// errRotating: a token names one CA, and a machine that joins is told of one.
var errRotating = &Refusal{Reason: "the cluster's CA is being replaced", Hint: "finish that first: tandemail pki rotate-ca"}

// settled is the revision of the record of the CA's last change, which must be over.
func settled(ctx context.Context, c coord.Coord) (cluster.Rev, error) {
	v, rev, err := c.Get(ctx, coord.RotationKey)
	if err != nil || rev == 0 {
		return rev, err
	}
	rec, err := coord.Decode[coord.RotationRecord](coord.KV{Key: coord.RotationKey, Value: v})
	if err == nil && rec.UnderWay() {
		err = errRotating
	}
	return rev, err
}

// Listed is a token that was made, without its secret.
type Listed struct {
	Hash string // of its secret
	coord.TokenRecord
	rev cluster.Rev
}

// List returns the tokens that there are, those that have expired too until the next
// one is made.
func List(ctx context.Context, c coord.Coord) ([]Listed, error) {
	kvs, _, err := c.List(ctx, coord.TokensPrefix)
	if err != nil {
		return nil, fmt.Errorf("read tokens: %w", err)
	}
	var out []Listed
	for _, kv := range kvs {
		rec, err := coord.Decode[coord.TokenRecord](kv)
		if err != nil {
			return nil, err
		}
		out = append(out, Listed{coord.NameOf(kv.Key), rec, kv.Rev})
	}
	return out, nil
}

// Revoke ends a token at once. A machine that it has let in stays.
func Revoke(ctx context.Context, c coord.Coord, t Listed) error {
	if _, _, err := c.Txn(ctx, coord.Txn{Then: []coord.Op{coord.Delete(coord.TokenKey(t.Hash))}}); err != nil {
		return fmt.Errorf("remove token: %w", err)
	}
	return nil
}

// RevokeAll ends every token.
func RevokeAll(ctx context.Context, c coord.Coord) error {
	list, err := List(ctx, c)
	for _, t := range list {
		err = errors.Join(err, Revoke(ctx, c, t))
	}
	return err
}

// sweep removes tokens that nobody can use any more.
func sweep(ctx context.Context, c coord.Coord, now time.Time) error {
	list, err := List(ctx, c)
	if err != nil {
		return err
	}
	for _, t := range list {
		if !now.After(t.Expires) {
			continue
		}
		old := coord.Txn{If: []coord.Compare{{Key: coord.TokenKey(t.Hash), Rev: t.rev}}, Then: []coord.Op{coord.Delete(coord.TokenKey(t.Hash))}}
		if _, _, err := c.Txn(ctx, old); err != nil {
			return fmt.Errorf("remove an expired token: %w", err)
		}
	}
	return nil
}
