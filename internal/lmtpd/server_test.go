package lmtpd

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/tandemail/tandemail/internal/accept"
	"github.com/tandemail/tandemail/internal/line"
)

// transaction sends a message up to its end, without reading the last reply.
func (c *client) transaction(body string) {
	c.t.Helper()
	c.send("MAIL FROM:<>\r\nRCPT TO:<a@y>\r\nDATA\r\n")
	c.expect("250 2.1.0 sender ok", "250 2.1.5 recipient ok", "354 go ahead, end with a dot")
	c.send(body)
}

func TestRepliesAreConfirmedOnlyByProof(t *testing.T) {
	const stored = "250 2.0.0 <a@y> stored"
	tests := []struct {
		name string
		want string
		play func(c *client, inData, goOn chan struct{})
	}{
		{"next command", "confirm", func(c *client, _, goOn chan struct{}) {
			close(goOn)
			c.transaction("x\r\n.\r\n")
			c.expect(stored)
			c.send("RSET\r\n")
			c.expect("250 2.0.0 flushed")
			_ = c.nc.(*net.TCPConn).SetLinger(0)
		}},
		{"QUIT ahead, replies read, closed in order", "confirm", func(c *client, _, goOn chan struct{}) {
			close(goOn)
			c.transaction("x\r\n.\r\nQUIT\r\n")
			c.expect(stored, "221 2.0.0 mx.test bye")
		}},
		{"QUIT sent while the delivery runs, client dies before the reply", "abandon", func(c *client, inData, goOn chan struct{}) {
			c.transaction("x\r\n.\r\n")
			<-inData
			c.send("QUIT\r\n")
			_ = c.nc.Close()
			close(goOn)
		}},
		{"QUIT ahead, client dies before the reply", "abandon", func(c *client, inData, goOn chan struct{}) {
			c.transaction("x\r\n.\r\nQUIT\r\n")
			<-inData
			_ = c.nc.Close()
			close(goOn)
		}},
		{"QUIT ahead, client dies with the reply unread", "abandon", func(c *client, inData, goOn chan struct{}) {
			c.transaction("x\r\n.\r\nQUIT\r\n")
			<-inData
			close(goOn)
			if _, err := c.br.Peek(1); err != nil { // the replies are there: one octet is taken
				c.t.Error(err)
			}
			_ = c.nc.(*net.TCPConn).SetLinger(0) // what a kernel does with unread octets
		}},
		{"RSET ahead, then the end", "abandon", func(c *client, inData, goOn chan struct{}) {
			c.transaction("x\r\n.\r\nRSET\r\n")
			<-inData
			close(goOn)
			c.expect(stored, "250 2.0.0 flushed")
		}},
		{"end without QUIT", "abandon", func(c *client, _, goOn chan struct{}) {
			close(goOn)
			c.transaction("x\r\n.\r\n")
			c.expect(stored)
		}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			rec := newRecorder()
			inData, goOn := make(chan struct{}), make(chan struct{})
			rec.onData = func(*Message) { close(inData); <-goOn }
			c := dial(t, serve(t, testConfig(rec)))
			c.hello()
			tc.play(c, inData, goOn)
			_ = c.nc.Close()
			<-rec.logout
			if got := rec.seen(); !slices.Contains(got, tc.want) || slices.Contains(got, "confirm") && slices.Contains(got, "abandon") {
				t.Fatalf("want %s, got %q", tc.want, got)
			}
		})
	}
}

func TestPipelinedBDATGroupsLeaveTheEarlierMessageInDoubt(t *testing.T) {
	rec := newRecorder()
	c := dial(t, serve(t, testConfig(rec)))
	c.hello()
	one := "MAIL FROM:<>\r\nRCPT TO:<a@y>\r\nBDAT 1 LAST\r\nx"
	c.send(one + one)
	reply := []string{"250 2.1.0 sender ok", "250 2.1.5 recipient ok", "250 2.0.0 <a@y> stored"}
	c.expect(slices.Concat(reply, reply)...)
	c.send("NOOP\r\n")
	c.expect("250 2.0.0 ok")
	got := slices.DeleteFunc(rec.seen(), func(s string) bool { return s != "confirm" && s != "abandon" })
	if !slices.Equal(got, []string{"abandon", "confirm"}) {
		t.Fatalf("got %q", got)
	}
}

func TestConnectionsOverTheLimitGet421(t *testing.T) {
	cfg := testConfig(newRecorder())
	cfg.MaxConns = 2
	srv, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	addr := serveBy(t, srv)
	a, b := dial(t, addr), dial(t, addr)
	a.hello()
	b.hello()
	c := dial(t, addr)
	c.expect("421 4.3.2 mx.test too many connections, try again later")
	if got, want := srv.Stats(), (accept.Stats{Open: 2, Accepted: 2, Refused: 1}); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
	a.send("NOOP\r\n")
	a.expect("250 2.0.0 ok")
}

func TestConnectionsOfOneAddressOverTheLimitGet421(t *testing.T) {
	cfg := testConfig(newRecorder())
	cfg.MaxPerAddress, cfg.Trusted = 1, func(netip.Addr) bool { return false }
	addr := serve(t, cfg)
	a := dial(t, addr)
	a.hello()
	dial(t, addr).expect("421 4.3.2 mx.test too many connections of one address, try again later")
	a.send("NOOP\r\n")
	a.expect("250 2.0.0 ok")
}

func TestTooManyTriflesEndTheConnection(t *testing.T) {
	cfg := testConfig(newRecorder())
	cfg.MaxJunk = 3
	c := dial(t, serve(t, cfg))
	c.hello() // the first
	c.send("NOOP\r\nRSET\r\nNOOP\r\n")
	c.expect("250 2.0.0 ok", "250 2.0.0 flushed", "421 4.7.0 mx.test too many commands without a message")
	if rest, err := io.ReadAll(c.br); err != nil || len(rest) > 0 {
		t.Fatalf("%q, %v", rest, err)
	}
}

func TestLargeMessageGoesThroughTheSpoolAndLeavesNothing(t *testing.T) {
	rec := newRecorder()
	var inMemory bool
	var content []byte
	rec.onData = func(m *Message) {
		inMemory = m.Bytes() != nil
		content, _ = io.ReadAll(m.Reader())
	}
	cfg := testConfig(rec)
	cfg.MaxMessage, cfg.MessageMemory, cfg.SpoolLimit = 10<<20, 1000, 300_000
	c := dial(t, serve(t, cfg))
	c.hello()
	for _, tc := range []struct {
		n        int
		inMemory bool
		reply    string
	}{
		{998, true, "250 2.0.0 <a@y> stored"},
		{999, false, "250 2.0.0 <a@y> stored"},
		{200_000, false, "250 2.0.0 <a@y> stored"},
		{400_000, false, "452 4.3.1 no space for the message, try again later"},
		{250_000, false, "250 2.0.0 <a@y> stored"},
	} {
		content = nil
		body := strings.Repeat("x", tc.n) + "\r\n"
		c.transaction(body + ".\r\n")
		c.expect(tc.reply)
		if stored := strings.HasPrefix(tc.reply, "250"); stored && (inMemory != tc.inMemory || !bytes.Equal(content, []byte(body))) {
			t.Fatalf("%d octets: in memory %v, %d octets read back", tc.n, inMemory, len(content))
		}
	}
	c.send("NOOP\r\n")
	c.expect("250 2.0.0 ok") // the file is gone before the next command
	if left, err := cfg.SpoolFS.List("spool"); err != nil || len(left) > 0 {
		t.Fatalf("left in the spool: %q, %v", left, err)
	}
}

func TestSpoolIsEmptiedAtStart(t *testing.T) {
	cfg := testConfig(newRecorder())
	for i := range 2 {
		if _, err := New(cfg); err != nil {
			t.Fatal(err)
		}
		names, err := cfg.SpoolFS.List("spool")
		if err != nil || i == 1 && !slices.Equal(names, []string{"other"}) {
			t.Fatalf("%q, %v", names, err)
		}
		for _, name := range []string{"spool/incoming-7", "spool/other"} {
			f, err := cfg.SpoolFS.Create(name, "")
			if err != nil {
				t.Fatal(err)
			}
			_ = f.Close()
		}
	}
}

// oneConn is a listener of one connection.
type oneConn struct {
	ch     chan net.Conn
	closed chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case nc := <-l.ch:
		return nc, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *oneConn) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}
func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }

// pipeServer runs a server in a synctest bubble and returns the client's end.
func pipeServer(t *testing.T, cfg Config) (peer net.Conn, stop func()) {
	srv, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	peer, mine := net.Pipe()
	ln := &oneConn{ch: make(chan net.Conn, 1), closed: make(chan struct{})}
	ln.ch <- mine
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ctx, ln) }()
	return peer, func() { cancel(); <-done }
}

// readAll gathers what the server sends until it closes.
func readAll(nc net.Conn) <-chan string {
	ch := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(nc)
		ch <- string(b)
	}()
	return ch
}

func TestIdleClientGets421(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer, stop := pipeServer(t, testConfig(newRecorder()))
		defer stop()
		begin := time.Now()
		got := <-readAll(peer)
		if !strings.HasSuffix(got, "421 4.4.2 mx.test timeout\r\n") || time.Since(begin) != 5*time.Minute {
			t.Fatalf("after %v: %q", time.Since(begin), got)
		}
	})
}

func TestShutdownEndsTheDeliveryUnderWayAndTells421(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := newRecorder()
		inData, goOn := make(chan struct{}), make(chan struct{})
		rec.onData = func(*Message) { close(inData); <-goOn }
		peer, stop := pipeServer(t, testConfig(rec))
		out := readAll(peer)
		go func() { _, _ = io.WriteString(peer, "LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@y>\r\nDATA\r\nx\r\n.\r\n") }()
		<-inData
		stopped := make(chan struct{})
		go func() { stop(); close(stopped) }()
		synctest.Wait()
		close(goOn)
		<-stopped
		if got := <-out; !strings.HasSuffix(got, "250 2.0.0 <a@y> stored\r\n421 4.3.2 mx.test shutting down\r\n") {
			t.Fatalf("got %q", got)
		}
	})
}

type panics struct{ recorded }

func (*panics) Data(context.Context, *Message, func(int, Result)) { panic("bug") }
func (*panics) Mail(_ context.Context, from string, _ MailParams) error {
	if from == "bug@x" {
		panic("bug")
	}
	return nil
}

type panicking struct{ *recorder }

func (p panicking) NewSession(context.Context, ConnInfo) (Session, error) {
	return &panics{recorded{p.recorder}}, nil
}

func TestPanicEndsOneSessionAndNeverBouncesMail(t *testing.T) {
	addr := serve(t, testConfig(panicking{newRecorder()}))
	c := dial(t, addr)
	c.hello()
	c.transaction("x\r\n.\r\n")
	c.expect("451 4.3.0 temporary failure, try again later")
	c.send("MAIL FROM:<bug@x>\r\n")
	if rest, err := io.ReadAll(c.br); err != nil || len(rest) > 0 {
		t.Fatalf("%q, %v", rest, err)
	}
	dial(t, addr).hello()
}

func TestStartTLSBeginsAnewAndIgnoresInjectedCommands(t *testing.T) {
	rec := newRecorder()
	cfg := testConfig(rec)
	cfg.TLS = &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}}
	c := dial(t, serve(t, cfg))
	c.hello()
	c.send("STARTTLS\r\nMAIL FROM:<evil@x>\r\n")
	c.expect("220 2.0.0 ready to start TLS")
	tc := tls.Client(c.nc, &tls.Config{InsecureSkipVerify: true})
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	c.nc = tc
	c.br.Reset(tc)
	c.send("MAIL FROM:<a@x>\r\nSTARTTLS\r\n")
	c.expect("503 5.5.1 say LHLO first", "503 5.5.1 not now")
	if got := rec.seen(); len(got) > 0 {
		t.Fatalf("backend saw %q", got)
	}
}

func selfSigned(t *testing.T) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestAnswersComeInOrderAsSoonAsTheyAreKnown(t *testing.T) {
	a := newAnswers(3)
	a.give(1, Result{Text: "b"})
	select {
	case <-a.changed:
		t.Fatal("a result behind a gap is not to be sent")
	default:
	}
	a.give(0, Result{Text: "a"})
	if got := a.wait(0); len(got) != 2 || got[0].Text != "a" || got[1].Text != "b" {
		t.Fatalf("got %v", got)
	}
	a.give(7, Result{})
	a.finish()
	if got := a.wait(2); len(got) != 1 || !errors.Is(got[0].Err, errNoAnswer) {
		t.Fatalf("got %v", got)
	}
}

func TestUnknownErrorsAreTemporary(t *testing.T) {
	if r, known := replyTo(errors.New("anything")); r.Code != 451 || known {
		t.Fatalf("got %v", r)
	}
	if r, known := replyTo(errors.Join(errors.New("x"), line.ErrTooLarge)); r.Code != 552 || !known {
		t.Fatalf("got %v", r)
	}
	for _, m := range replies {
		if m.reply.Code/100 != int(m.reply.Enhanced[0]-'0') {
			t.Errorf("%v: class and code disagree", m.reply)
		}
	}
}

func TestGoSMTPClientIsUnderstood(t *testing.T) {
	rec := newRecorder()
	addr := serve(t, testConfig(rec))
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c := smtp.NewClientLMTP(nc)
	defer c.Close()
	if err := c.Hello("client"); err != nil {
		t.Fatal(err)
	}
	if err := c.Mail("a@x", &smtp.MailOptions{Size: 20, UTF8: true}); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"one@y", "full@y", "two@y"} {
		if err := c.Rcpt(to, nil); err != nil {
			t.Fatal(err)
		}
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, "Subject: hi\r\n\r\n.dot\r\n"); err != nil {
		t.Fatal(err)
	}
	var perRcpt smtp.LMTPDataError
	if _, err := w.CloseWithLMTPResponse(); !errors.As(err, &perRcpt) {
		t.Fatalf("got %v", err)
	}
	var full *smtp.SMTPError
	if len(perRcpt) != 1 || !errors.As(perRcpt["full@y"], &full) || full.Code != 452 || full.EnhancedCode != (smtp.EnhancedCode{4, 2, 2}) {
		t.Fatalf("got %v", perRcpt)
	}
	if err := c.Quit(); err != nil {
		t.Fatal(err)
	}
	<-rec.logout
	if got := rec.seen(); !slices.Contains(got, `data "Subject: hi\r\n\r\n.dot\r\n" nuls=0 barelfs=0`) || !slices.Contains(got, "confirm") {
		t.Fatalf("backend saw %q", got)
	}
}
