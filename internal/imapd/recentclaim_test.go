package imapd

import (
	"errors"
	"strings"
	"sync"
	"testing"
)

// TestOneSessionAloneIsToldThatAMessageIsRecent: also when many look at once.
func TestOneSessionAloneIsToldThatAMessageIsRecent(t *testing.T) {
	a := newAccount(t)
	var sessions []*direct
	for i := range 8 {
		d := newDirect(t, a, byte(i+1))
		d.ok("SELECT INBOX")
		sessions = append(sessions, d)
	}
	for round := range 20 {
		writer := newDirect(t, a, byte(100+round))
		writer.ok("APPEND INBOX {1+}\r\nx")
		told := make([]bool, len(sessions))
		var all sync.WaitGroup
		for i, d := range sessions {
			all.Go(func() {
				_, err := d.run("x NOOP")
				flags, err2 := d.run("x FETCH * FLAGS")
				if err = errors.Join(err, err2); err != nil {
					t.Error(err)
				}
				told[i] = strings.Contains(flags, `\Recent`)
			})
		}
		all.Wait()
		n := 0
		for _, b := range told {
			if b {
				n++
			}
		}
		if n != 1 {
			t.Fatalf("round %d: the newest message is recent in %d sessions", round, n)
		}
	}
}
