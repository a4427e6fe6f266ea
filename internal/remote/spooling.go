package remote

import (
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/spool"
	"github.com/tandemail/tandemail/internal/state"
)

// spooling keeps large messages in a spool directory. A full one is mail.ErrBusy.
type spooling struct{ dir *spool.Dir }

// Create implements state.Spool.
func (s spooling) Create() (state.SpoolFile, error) {
	f, err := s.dir.Create(0)
	if err != nil {
		return nil, busy(err)
	}
	return &spooled{File: f}, nil
}

func busy(err error) error {
	if errors.Is(err, spool.ErrFull) {
		return fmt.Errorf("%w: %w", mail.ErrBusy, err)
	}
	return err
}

// spooled is written, and then read at any place.
type spooled struct {
	*spool.File
	r spool.Reader // once it is read
}

// Write implements io.Writer.
func (s *spooled) Write(p []byte) (int, error) {
	n, err := s.File.Write(p)
	return n, busy(err)
}

// ReadAt implements io.ReaderAt.
func (s *spooled) ReadAt(p []byte, off int64) (int, error) {
	if s.r == nil {
		r, err := s.Open()
		if err != nil {
			return 0, err
		}
		s.r = r
	}
	return s.r.ReadAt(p, off)
}

// Close implements io.Closer.
func (s *spooled) Close() error {
	var err error
	if s.r != nil {
		err = s.r.Close()
	}
	return errors.Join(err, s.File.Close())
}
