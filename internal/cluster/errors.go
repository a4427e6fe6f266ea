package cluster

import "errors"

// Sentinel errors. Each protocol edge maps them once, in a table.
var (
	// ErrUnknown: the change may have happened. Ask before you act.
	ErrUnknown = errors.New("outcome unknown")
	// ErrNotMaster: this slot may not serve; ask the directory again.
	ErrNotMaster = errors.New("not the master")
	// ErrBehind: this slot's epoch is lower than the one the caller has seen.
	ErrBehind = errors.New("slot is behind the caller's epoch")
	// ErrFull: a space watermark refuses new octets.
	ErrFull = errors.New("disk above its watermark")
	// ErrDamaged: stored octets are not what was written. Never a torn tail.
	ErrDamaged = errors.New("damaged")
	// ErrNewer: written by a newer release; refusing is safe, skipping is not.
	ErrNewer = errors.New("needs a newer release")
	// ErrStopped: the component was shut down.
	ErrStopped = errors.New("stopped")
)
