package dev

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"
)

func TestOnlyA5xxIsRefusedForGood(t *testing.T) {
	for err, want := range map[error]bool{
		&smtp.SMTPError{Code: 550}: true,
		&smtp.SMTPError{Code: 451}: false,
		errors.New("cut"):          false,
	} {
		if got := refusedForGood(fmt.Errorf("deliver: %w", err)); got != want {
			t.Errorf("%v: %v", err, got)
		}
	}
}

func TestProgressSaysHowManyArrivedAndBoundsItsComplaints(t *testing.T) {
	var out strings.Builder
	p := newProgress(&out, 100)
	for range 3 {
		p.arrived(10)
	}
	for range maxFailures + 5 {
		p.failed(errors.New("no"))
	}
	if n := p.done(); n != maxFailures+5 {
		t.Errorf("%d did not arrive", n)
	}
	if got := strings.Count(out.String(), "did not arrive: no"); got != maxFailures {
		t.Errorf("%d complaints", got)
	}
	if !strings.Contains(out.String(), fmt.Sprintf("3 messages arrived, %d did not", maxFailures+5)) || strings.Contains(out.String(), "\r") {
		t.Errorf("printed %q", out.String())
	}
}
