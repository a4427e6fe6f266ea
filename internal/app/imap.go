package app

import (
	"context"

	"github.com/tandemail/tandemail/internal/link"
)

func (m *machine) serveIMAP(*group) error { return nil }

func (m *machine) handleSession(context.Context, *link.Stream) {}
