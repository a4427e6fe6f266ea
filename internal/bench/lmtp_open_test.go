package bench

import (
	"bufio"
	"net"
	"slices"
	"strings"
	"testing"
)

// scripted answers each command with the next reply and notes the commands.
func scripted(nc net.Conn, replies ...string) (commands func() []string) {
	var got []string
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer nc.Close()
		r := bufio.NewReader(nc)
		_, _ = nc.Write([]byte("220 ready\r\n")) // the client would notice
		for _, reply := range replies {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			verb, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			got = append(got, verb)
			if _, err := nc.Write([]byte(reply + "\r\n")); err != nil {
				return
			}
		}
	}()
	return func() []string { <-done; return got }
}

func TestTransactionLeftOpenIsResetBeforeTheNext(t *testing.T) {
	here, there := net.Pipe()
	commands := scripted(there, "250 PIPELINING", "250 ok", "451 later", "503 no recipients", "250 reset", "250 ok", "451 later", "503 no recipients")
	buffered := &pipelined{Conn: here}
	c, err := NewLMTP(buffered, "test.invalid")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		replies, err := c.Data("a@example.test", []string{"b@example.test"}, []byte("Subject: x\r\n\r\n"))
		if err != nil || len(replies) != 1 || replies[0].Code != 451 {
			t.Fatalf("replies %+v, %v", replies, err)
		}
	}
	here.Close()
	want := []string{"LHLO", "MAIL", "RCPT", "DATA", "RSET", "MAIL", "RCPT", "DATA"}
	if got := commands(); !slices.Equal(got, want) {
		t.Errorf("commands %v, want %v", got, want)
	}
}

// pipelined writes without waiting for the reader, as a socket does.
type pipelined struct{ net.Conn }

// Write implements io.Writer.
func (p *pipelined) Write(b []byte) (int, error) {
	go func(b []byte) { _, _ = p.Conn.Write(b) }(slices.Clone(b)) // one write at a time is under way in this test
	return len(b), nil
}
