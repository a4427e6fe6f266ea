package ledger

// Summary counts a history.
type Summary struct {
	Deliveries [3]int         // indexed by Outcome
	Changes    [3]int         // by IMAP clients, indexed by Outcome
	Acked      map[string]int // acknowledged, by kind; a kind that was never is 0
	Looks      int
	// Doubled counts messages that are there twice because an attempt without
	// answer took effect and the retry, acknowledged, did too. Check allows them;
	// a store that recognises retries has none.
	Doubled int
}

// Summarize counts.
func Summarize(history []Event) Summary {
	s := Summary{Acked: map[string]int{"delivery": 0, "append": 0, "store": 0, "copy": 0, "move": 0, "expunge": 0}}
	acked, have := map[Deliver]int{}, map[Deliver]int{}
	for _, e := range history {
		switch c := e.Change.(type) {
		case Observe:
			s.Looks++
			countInbox(have, c)
			continue
		case Deliver:
			s.Deliveries[e.Outcome]++
			if e.Outcome == Acked {
				acked[c]++
			}
		default:
			s.Changes[e.Outcome]++
		}
		if e.Outcome == Acked {
			s.Acked[kind(e.Change)]++
		}
	}
	for d, n := range acked {
		if n == 1 && have[d] > 1 {
			s.Doubled++
		}
	}
	return s
}

// countInbox replaces the numbers of a user's messages by those of a later look.
func countInbox(have map[Deliver]int, o Observe) {
	if o.Box.Name != Inbox {
		return
	}
	for d := range have {
		if d.User == o.Box.User {
			delete(have, d)
		}
	}
	for _, m := range o.Messages {
		have[Deliver{o.Box.User, m.Token}]++
	}
}

func kind(change Change) string {
	switch c := change.(type) {
	case Deliver:
		return "delivery"
	case Append:
		return "append"
	case Store:
		return "store"
	case Expunge:
		return "expunge"
	case Copy:
		if c.Move {
			return "move"
		}
	}
	return "copy"
}
