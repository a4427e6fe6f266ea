package disk

import "context"

// Turn waits until it is the caller's turn to do long work in the background on
// the device, and begins it: one at a time. The work ends with end, called once.
// The error is that of ctx.
func (d *Disk) Turn(ctx context.Context) (end func(), err error) {
	select {
	case d.turn <- struct{}{}:
		return func() { <-d.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
