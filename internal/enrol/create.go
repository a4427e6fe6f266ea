package enrol

import (
	"context"
	"fmt"
	"io"
	"time"

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
	key := coord.TokenKey(t.Hash())
	if _, _, err := c.Txn(ctx, coord.Txn{Then: []coord.Op{coord.Put(key, coord.Encode(rec))}}); err != nil {
		return Token{}, fmt.Errorf("write token: %w", err)
	}
	return t, nil
}

// sweep removes tokens that nobody can use any more.
func sweep(ctx context.Context, c coord.Coord, now time.Time) error {
	kvs, _, err := c.List(ctx, coord.TokensPrefix)
	if err != nil {
		return fmt.Errorf("read tokens: %w", err)
	}
	for _, kv := range kvs {
		rec, err := coord.Decode[coord.TokenRecord](kv)
		if err != nil || !now.After(rec.Expires) {
			continue
		}
		old := coord.Txn{If: []coord.Compare{{Key: kv.Key, Rev: kv.Rev}}, Then: []coord.Op{coord.Delete(kv.Key)}}
		if _, _, err := c.Txn(ctx, old); err != nil {
			return fmt.Errorf("remove an expired token: %w", err)
		}
	}
	return nil
}
