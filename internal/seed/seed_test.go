package seed

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tandemail/tandemail/internal/cluster"
)

var update = flag.Bool("update", false, "rewrite golden files")

func sample() []any {
	a, b := cluster.SlotID{0xa}, cluster.SlotID{0xb}
	return []any{
		KindHello,
		Hello{Cluster: "c1", Store: "s01", Slot: b},
		KindAnswer,
		Answer{
			Record: &cluster.StoreRecord{
				Store: "s01", Generation: 1, Epoch: 3, Master: a, Incarnation: 7, InSync: []cluster.SlotID{a}, Nonce: "n",
				Slots: []cluster.SlotRef{{Slot: a, Machine: "m1", Counter: 1}, {Slot: b, Machine: "m2"}},
			},
			Rev: 12, CoordRev: 13, Octets: 4096,
		},
		KindAnswer,
		Answer{Reason: "another copy is being made"},
		KindHave,
		Have{Packs: []string{"00000000000000aa"}},
		KindRound,
		Round{Last: true, Packs: []string{"00000000000000aa", "00000000000000bb"}},
		KindFile,
		File{What: FilePack, Name: "00000000000000bb.pack", Size: 6},
		KindData, []byte("octets"),
		KindEnd,
		End{SHA256: strings.Repeat("0f", 32)},
		KindJournal,
		Journal{LSN: 4096, Epoch: 3, Chain: strings.Repeat("1e", 32)},
		KindBatch, []byte("batch"),
		KindDone,
		Done{LSN: 8192},
		KindAlive, []byte(nil),
		KindSorry,
		Sorry{Reason: "no room for a snapshot"},
	}
}

func payloadOf(t testing.TB, doc any) []byte {
	if b, ok := doc.([]byte); ok {
		return b
	}
	b, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFramesAreAsDocumented(t *testing.T) {
	var out bytes.Buffer
	list := sample()
	for i := 0; i < len(list); i += 2 {
		k, payload := list[i].(Kind), payloadOf(t, list[i+1])
		b, err := appendFrame(nil, k, payload)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%d %T\n%s\n", k, list[i+1], hex.Dump(b))
		got, octets, err := parse(b[lengthSize:])
		if err != nil || got != k || !bytes.Equal(octets, payload) {
			t.Errorf("kind %d came back as %d, %q: %v", k, got, octets, err)
		}
		for at := lengthSize; at < len(b); at++ {
			b[at] ^= 1
			if _, _, err := parse(b[lengthSize:]); err == nil {
				t.Errorf("kind %d, octet %d changed: taken", k, at)
			}
			b[at] ^= 1
		}
	}
	const path = "testdata/frames.golden"
	if *update {
		if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(out.Bytes(), want) {
		t.Errorf("%s differs (%v); run with -update and read the difference:\n%s", path, err, out.Bytes())
	}
}

// between runs two ends of a conversation.
func between(t *testing.T, source, sink func(*Conn) error) (sent, received error) {
	synctest.Test(t, func(*testing.T) {
		here, there := net.Pipe()
		a, b := NewConn(here), NewConn(there)
		done := make(chan error)
		go func() {
			err := source(a)
			done <- errors.Join(err, a.Close())
		}()
		received = errors.Join(sink(b), b.Close())
		sent = <-done
	})
	return sent, received
}

func TestFileArrivesWholeOrNotAtAll(t *testing.T) {
	octets := bytes.Repeat([]byte("mail"), DataSize)
	f := File{What: FilePack, Name: "x", Size: int64(len(octets))}
	for name, c := range map[string]struct {
		from  io.Reader
		whole bool
	}{
		"whole": {bytes.NewReader(octets), true},
		"short": {bytes.NewReader(octets[:len(octets)-1]), false},
	} {
		var got bytes.Buffer
		_, err := between(t, func(conn *Conn) error {
			stop := conn.Alive(context.Background())
			defer stop()
			return conn.SendFile(f, c.from, func(int) error { return nil })
		}, func(c *Conn) error {
			var announced File
			if err := c.Expect(KindFile, &announced); err != nil || announced != f {
				return fmt.Errorf("announced %+v: %w", announced, err)
			}
			return c.ReceiveFile(announced, func(b []byte) error { got.Write(b); return nil })
		})
		if (err == nil) != c.whole || c.whole && !bytes.Equal(got.Bytes(), octets) {
			t.Errorf("%s: %d octets, %v", name, got.Len(), err)
		}
	}
}

func TestWhatDoesNotFitEndsTheConversation(t *testing.T) {
	f := File{What: FilePack, Name: "x", Size: 4}
	receive := func(c *Conn) error { return c.ReceiveFile(f, func([]byte) error { return nil }) }
	for name, c := range map[string]struct {
		source func(*Conn) error
		want   error
	}{
		"more than was announced": {func(c *Conn) error { return c.Octets(KindData, []byte("octets")) }, ErrFrame},
		"another frame":           {func(c *Conn) error { return c.Send(KindDone, Done{}) }, ErrFrame},
		"nothing in a frame":      {func(c *Conn) error { return c.Octets(KindData, nil) }, ErrFrame},
		"another hash": {func(c *Conn) error {
			return errors.Join(c.Octets(KindData, []byte("mail")), c.Send(KindEnd, End{strings.Repeat("00", 32)}))
		}, errSum},
		"an end before the end": {func(c *Conn) error { return c.Send(KindEnd, End{}) }, errSum},
		"a closed connection": {func(c *Conn) error {
			synctest.Wait() // a pipe that is closed before it is read gives another error
			return nil
		}, io.ErrUnexpectedEOF},
		"a large frame": {func(c *Conn) error {
			_, err := c.nc.Write([]byte{0xff, 0, 0, 0})
			return err
		}, ErrFrame},
		"silence": {func(c *Conn) error {
			_, err := c.nc.Read(make([]byte, 1))
			return err
		}, os.ErrDeadlineExceeded},
	} {
		if _, err := between(t, c.source, receive); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := between(t, func(c *Conn) error { return c.Send(KindSorry, Sorry{"no room"}) }, receive)
	if err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("sorry: %v", err)
	}
}
