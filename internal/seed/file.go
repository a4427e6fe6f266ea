package seed

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// SendFile sends a file of size octets that r gives. wait is called before octets are
// read: the place to hold back, or to give up by an error.
func (c *Conn) SendFile(f File, r io.Reader, wait func(octets int) error) error {
	if err := c.Send(KindFile, f); err != nil {
		return err
	}
	sum, b := sha256.New(), make([]byte, DataSize)
	for left := f.Size; left > 0; {
		b = b[:min(left, DataSize)]
		if err := wait(len(b)); err != nil {
			return err
		}
		if _, err := io.ReadFull(r, b); err != nil {
			return fmt.Errorf("read %s: %w", f.Name, err)
		}
		sum.Write(b)
		if err := c.Octets(KindData, b); err != nil {
			return err
		}
		left -= int64(len(b))
	}
	return c.Send(KindEnd, End{hex.EncodeToString(sum.Sum(nil))})
}

// ReceiveFile gives take the octets of a file that was announced, in order; they are
// good during the call. It returns nil only if they are those that were sent.
func (c *Conn) ReceiveFile(f File, take func(octets []byte) error) error {
	sum := sha256.New()
	for got := int64(0); ; {
		k, payload, err := c.Next()
		switch {
		case err != nil:
			return err
		case k == KindEnd:
			return c.ended(f, payload, got, sum.Sum(nil))
		case k != KindData || len(payload) == 0 || int64(len(payload)) > f.Size-got:
			return fmt.Errorf("frame of kind %d with %d octets in %s, at %d of %d: %w", k, len(payload), f.Name, got, f.Size, ErrFrame)
		}
		got += int64(len(payload))
		sum.Write(payload)
		if err := take(payload); err != nil {
			return err
		}
	}
}

// errSum: what came is not what was sent.
var errSum = errors.New("hash mismatch")

func (c *Conn) ended(f File, payload []byte, got int64, sum []byte) error {
	var end End
	if err := Decode(payload, &end); err != nil {
		return err
	}
	if got != f.Size || end.SHA256 != hex.EncodeToString(sum) {
		return fmt.Errorf("%s, %d octets of %d: %w", f.Name, got, f.Size, errSum)
	}
	return nil
}
