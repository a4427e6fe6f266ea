package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/line"
)

var messageID = regexp.MustCompile(`(?m)^Message-ID: <([0-9a-f]{16}\.[0-9a-f]{16})@`)

func TestEveryMessageIsSentOnceWithAnIDOfItsOwn(t *testing.T) {
	for _, chunked := range []bool{false, true} {
		s := startLMTP(t, &fakeServer{})
		r, err := RunLMTP(t.Context(), LMTPConfig{
			Addresses: []string{s.addr}, Recipients: []string{"a@x", "b@x", "c@x"}, RecipientsPerMessage: 2,
			Connections: 4, Messages: 300, Size: 2000, Chunked: chunked,
		})
		if err != nil || r.Count() != 300 || r.Failed() != 0 {
			t.Fatalf("chunked %v: %d done, %d failed, %v", chunked, r.Count(), r.Failed(), err)
		}
		ids := map[string]bool{}
		for _, m := range s.messages {
			id := messageID.FindSubmatch(m)
			if id == nil || len(m) < 2000 || len(m) > 2100 {
				t.Fatalf("chunked %v: message of %d octets: %q", chunked, len(m), m)
			}
			ids[string(id[1])] = true
		}
		if len(s.messages) != 300 || len(ids) != 300 {
			t.Fatalf("chunked %v: %d messages arrived with %d ids", chunked, len(s.messages), len(ids))
		}
		if n := s.perUser; n["a@x"]+n["b@x"]+n["c@x"] != 600 || min(n["a@x"], n["b@x"], n["c@x"]) < 100 {
			t.Fatalf("chunked %v: recipients got %v", chunked, n)
		}
		if o := r.Operations[0]; o.Latency.P50 <= 0 || o.Latency.Max < o.Latency.P99 || o.Octets != 300*int64(len(s.messages[0])) {
			t.Fatalf("chunked %v: report %+v", chunked, o)
		}
	}
}

func TestHotRunHasOneRecipient(t *testing.T) {
	s := startLMTP(t, &fakeServer{})
	_, err := RunLMTP(t.Context(), LMTPConfig{
		Addresses: []string{s.addr}, Recipients: []string{"a@x", "b@x"}, RecipientsPerMessage: 2, Hot: true, Connections: 3, Messages: 30,
	})
	if err != nil || s.perUser["a@x"] != 30 || s.perUser["b@x"] != 0 {
		t.Fatalf("recipients got %v, %v", s.perUser, err)
	}
}

func TestRefusalsAreCountedByTheirCode(t *testing.T) {
	for _, chunked := range []bool{false, true} {
		s := startLMTP(t, &fakeServer{
			rcpt: func(to string) string {
				if to == "full@x" {
					return "452 4.2.2 over quota"
				}
				return "250 ok"
			},
			result: func(to string, _ int) string {
				if to == "held@x" {
					return "451 4.3.2 no master"
				}
				return "250 ok"
			},
		})
		r, err := RunLMTP(t.Context(), LMTPConfig{
			Addresses: []string{s.addr}, Recipients: []string{"full@x", "held@x", "good@x"}, Messages: 30, Chunked: chunked,
		})
		if err != nil || r.Count() != 10 {
			t.Fatalf("chunked %v: %d done, %v", chunked, r.Count(), err)
		}
		if e := r.Operations[0].Errors; e["452 4.2.2"] != 10 || e["451 4.3.2"] != 10 || len(e) != 2 {
			t.Fatalf("chunked %v: errors %v", chunked, e)
		}
	}
}

func TestBrokenConnectionIsMadeAgain(t *testing.T) {
	s := startLMTP(t, &fakeServer{result: func(_ string, n int) string {
		if n%10 == 0 {
			return ""
		}
		return "250 ok"
	}})
	r, err := RunLMTP(t.Context(), LMTPConfig{Addresses: []string{s.addr}, Recipients: []string{"a@x"}, Messages: 95})
	if err != nil || r.Count() != 86 || r.Operations[0].Errors["connection lost"] != 9 {
		t.Fatalf("%d done, errors %v, %v", r.Count(), r.Operations[0].Errors, err)
	}
}

func TestRunThatCannotConnectFails(t *testing.T) {
	broken := errors.New("no such machine")
	r, err := RunLMTP(t.Context(), LMTPConfig{
		Addresses: []string{"x:1"}, Recipients: []string{"a@x"}, Duration: 100 * time.Millisecond,
		Dial: func(context.Context, string) (net.Conn, error) { return nil, broken },
	})
	if !errors.Is(err, broken) || r.Operations[0].Errors["connect"] == 0 {
		t.Fatalf("got %v, errors %v", err, r.Operations[0].Errors)
	}
}

func TestSenselessConfigurationIsRefused(t *testing.T) {
	for _, cfg := range []LMTPConfig{
		{Addresses: []string{"x:1"}, Recipients: []string{"a@x"}},
		{Recipients: []string{"a@x"}, Messages: 1},
		{Addresses: []string{"x:1"}, Messages: 1},
	} {
		if _, err := RunLMTP(t.Context(), cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := startLMTP(t, &fakeServer{result: func(_ string, n int) string {
		if n == 50 {
			cancel()
		}
		return "250 ok"
	}})
	r, err := RunLMTP(ctx, LMTPConfig{Addresses: []string{s.addr}, Recipients: []string{"a@x"}, Duration: time.Hour, Connections: 2})
	if err != nil || r.Count() < 40 || r.Count() > 60 || r.Failed() != 0 {
		t.Fatalf("%d done, %d failed, %v", r.Count(), r.Failed(), err)
	}
}

func TestRateIsKept(t *testing.T) {
	s := startLMTP(t, &fakeServer{})
	r, err := RunLMTP(t.Context(), LMTPConfig{Addresses: []string{s.addr}, Recipients: []string{"a@x"}, Messages: 50, Rate: 200, Connections: 2})
	if err != nil || r.Seconds < 0.2 || r.Operations[0].PerSecond > 250 {
		t.Fatalf("%.0f a second in %.2f s, %v", r.Operations[0].PerSecond, r.Seconds, err)
	}
}

func TestDotStuffedDataReadsBackAsItWas(t *testing.T) {
	for _, msg := range []string{"\r\n", ".\r\n", "..\r\n.\r\n", "a\r\n.b\r\n\r\n.\r\n", "x\n.\ny\n\r\n", "no end", "a\r\n.", "\r\r\n.\r\n", "a\n"} {
		mine, peer := net.Pipe()
		go func() {
			_, _ = peer.Write(append(AppendDotStuffed(nil, []byte(msg)), "NEXT\r\n"...))
			peer.Close()
		}()
		c := line.New(mine, line.Config{})
		got, err := io.ReadAll(c.Dot(1 << 20))
		want := msg
		if !strings.HasSuffix(want, "\r\n") {
			want += "\r\n"
		}
		if err != nil || string(got) != want {
			t.Errorf("%q came out as %q, %v", msg, got, err)
		}
		if next, err := c.ReadLine(); err != nil || string(next) != "NEXT" {
			t.Errorf("after %q: line %q, %v", msg, next, err)
		}
		mine.Close()
	}
}

func TestReportHasTextAndJSON(t *testing.T) {
	s := startLMTP(t, &fakeServer{rcpt: func(string) string { return "550 5.1.1 unknown" }})
	var progress bytes.Buffer
	r, err := RunLMTP(t.Context(), LMTPConfig{Addresses: []string{s.addr}, Recipients: []string{"a@x"}, Messages: 5, Progress: &progress})
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := r.WriteText(&text); err != nil || !strings.Contains(text.String(), "deliver: 5 times 550 5.1.1") {
		t.Fatalf("text %q, %v", text.String(), err)
	}
	if !strings.Contains(progress.String(), "5 failed") {
		t.Fatalf("progress %q", progress.String())
	}
	b, err := json.Marshal(r)
	if err != nil || !bytes.Contains(b, []byte(`"errors":{"550 5.1.1":5}`)) {
		t.Fatalf("JSON %s, %v", b, err)
	}
}
