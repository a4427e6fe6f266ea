package bench

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/tandemail/tandemail/internal/line"
)

// fakeServer speaks just enough LMTP to check what the generator sends. It reads
// message data with the reader that the real server uses.
type fakeServer struct {
	addr     string
	rcpt     func(to string) string        // answer to RCPT; nil is 250
	result   func(to string, n int) string // answer to the n-th message for to; "" cuts the connection
	mu       sync.Mutex
	messages [][]byte
	perUser  map[string]int
}

func startLMTP(t *testing.T, s *fakeServer) *fakeServer {
	s.perUser = map[string]int{}
	s.addr = listen(t, func(nc net.Conn) { s.serve(line.New(nc, line.Config{AutoFlush: true})) })
	return s
}

// listen serves each connection in a goroutine that the test waits for.
func listen(t *testing.T, serve func(net.Conn)) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer nc.Close()
				serve(nc)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		running.Wait()
	})
	return ln.Addr().String()
}

func (s *fakeServer) serve(c *line.Conn) {
	say := func(format string, args ...any) { fmt.Fprintf(c, format+"\r\n", args...) }
	say("220 fake")
	var to []string
	inMail := false
	for {
		b, err := c.ReadLine()
		if err != nil {
			return
		}
		verb, arg, _ := strings.Cut(string(b), " ")
		switch verb {
		case "LHLO":
			say("250-fake\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 8BITMIME")
		case "RSET":
			inMail = false
			say("250 2.0.0 flushed")
		case "MAIL":
			if inMail {
				say("503 5.5.1 a transaction is open")
				continue
			}
			inMail = true
			to = to[:0]
			say("250 2.1.0 ok")
		case "RCPT":
			rcpt := strings.TrimSuffix(strings.TrimPrefix(arg, "TO:<"), ">")
			answer := "250 2.1.5 ok"
			if s.rcpt != nil {
				answer = s.rcpt(rcpt)
			}
			if answer[0] == '2' {
				to = append(to, rcpt)
			}
			say("%s", answer)
		case "DATA":
			if len(to) == 0 {
				say("503 5.5.1 no recipient")
				continue
			}
			say("354 go on")
			msg, err := io.ReadAll(c.Dot(1 << 20))
			if err != nil || !s.take(to, msg, say) {
				_ = c.Flush()
				return
			}
			inMail = false
		case "BDAT":
			n, _ := strconv.Atoi(strings.TrimSuffix(arg, " LAST"))
			msg, err := io.ReadAll(c.Literal(int64(n)))
			if len(to) == 0 {
				say("503 5.5.1 no recipient")
				continue
			}
			if err != nil || !s.take(to, msg, say) {
				_ = c.Flush()
				return
			}
			inMail = false
		case "QUIT":
			say("221 bye")
			_ = c.Flush()
			return
		default:
			say("500 5.5.2 what?")
		}
	}
}

func (s *fakeServer) take(to []string, msg []byte, say func(string, ...any)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, msg)
	for _, rcpt := range to {
		s.perUser[rcpt]++
		answer := "250 2.0.0 delivered"
		if s.result != nil {
			answer = s.result(rcpt, s.perUser[rcpt])
		}
		if answer == "" {
			return false
		}
		say("%s", answer)
	}
	return true
}

// serveIMAP is a mailbox of any number of equal messages, enough for the generator.
func serveIMAP(nc net.Conn, messages int, content string, refuse string) {
	r := bufio.NewReader(nc)
	fmt.Fprint(nc, "* OK fake\r\n")
	for {
		l, err := r.ReadString('\n')
		if err != nil {
			return
		}
		f := strings.Fields(l)
		tag, verb := f[0], f[1]
		if verb == refuse {
			fmt.Fprintf(nc, "%s NO [OVERQUOTA] full\r\n", tag)
			continue
		}
		switch verb {
		case "SELECT":
			fmt.Fprintf(nc, "* FLAGS ()\r\n* %d EXISTS\r\n", messages)
		case "FETCH":
			fmt.Fprintf(nc, "* %s FETCH (UID 7 BODY[] {%d}\r\n%s FLAGS ())\r\n", f[2], len(content), content)
		case "APPEND":
			last := f[len(f)-1]
			n, _ := strconv.Atoi(strings.Trim(last, "{}"))
			fmt.Fprint(nc, "+ go on\r\n")
			if _, err := io.CopyN(io.Discard, r, int64(n)+2); err != nil {
				return
			}
			messages++
			fmt.Fprintf(nc, "* %d EXISTS\r\n", messages)
		}
		fmt.Fprintf(nc, "%s OK done\r\n", tag)
		if verb == "LOGOUT" {
			return
		}
	}
}
