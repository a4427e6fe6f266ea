package controller

import (
	"errors"
	"syscall"
)

// ErrNotLeading: ask the machine that the controller key names.
var ErrNotLeading = errors.New("not the elected controller")

// refused: the host answered, and nobody listens there.
func refused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET)
}
