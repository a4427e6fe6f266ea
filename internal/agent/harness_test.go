package agent

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/coord/memory"
	"github.com/tandemail/tandemail/internal/disk"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/slot"
	"github.com/tandemail/tandemail/internal/tail"
)

// site is some machines in one process and in virtual time: a coordinator in
// memory, a file system each, pipes between them.
type site struct {
	t      *testing.T
	coord  *memory.Server
	agents map[cluster.Machine]*node
	wg     sync.WaitGroup
}

// node is one machine.
type node struct {
	*Agent
	site   *site
	client *memory.Client
	fs     *vfs.MemFS
	stop   func() // ends its agent and waits
	cut    bool   // nobody's calls reach it
	level  cluster.Level
	apply  slot.ApplyFunc
	// redeliver and owner are the agent's, if set.
	redeliver func(context.Context, cluster.Store, slot.Delivery) (tail.Result, error)
	owner     func(context.Context, mail.AccountID) (tail.Owner, error)
}

func inSite(t *testing.T, f func(t *testing.T, s *site), machines ...cluster.Machine) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &site{t: t, coord: memory.NewServer(memory.Config{}), agents: map[cluster.Machine]*node{}}
		for _, m := range machines {
			c := s.coord.Client()
			s.put(c, coord.MachineKey(m), coord.Encode(coord.MachineRecord{Machine: m, Storage: true}))
			n := &node{site: s, client: c, fs: vfs.NewMem()}
			s.agents[m] = n
			n.start(m)
		}
		defer func() {
			for _, n := range s.agents {
				n.stop()
			}
			s.wg.Wait()
		}()
		synctest.Wait()
		f(t, s)
	})
}

func (n *node) start(m cluster.Machine) {
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("TANDEMAIL_TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(n.site.t.Output(), nil)).With("machine", m)
	}
	begun := time.Now()
	n.Agent = New(Config{
		Cluster: "test", Machine: m, Meta: "/meta", Spool: "/spool", FS: n.fs, Disk: disk.New(disk.Config{}),
		Coord: n.client, Remote: &Remote{Call: n.call}, Dial: n.dial,
		Clock: func() time.Duration { return time.Since(begun) }, Now: time.Now, Rand: rand.Reader, Log: log,
		SegmentSize: 1 << 20, Level: n.level, Apply: n.apply, Redeliver: n.redeliver, Owner: n.owner,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = n.Run(ctx) }()
	n.stop = func() { cancel(); <-done }
}

// call reaches another machine's agent unless it is cut off; then it is silent.
func (n *node) call(ctx context.Context, m cluster.Machine, req []byte) ([]byte, error) {
	to := n.site.agents[m]
	if to == nil || to.cut {
		<-ctx.Done()
		return nil, fmt.Errorf("%s is silent: %w", m, ctx.Err())
	}
	return to.Handle(ctx, n.cfg.Machine, req), nil
}

func (n *node) dial(_ context.Context, m cluster.Machine, hello []byte) (net.Conn, error) {
	to := n.site.agents[m]
	if to == nil || to.cut {
		return nil, fmt.Errorf("%s cannot be reached", m)
	}
	here, there := net.Pipe()
	n.site.wg.Go(func() { _ = to.HandleReplica(context.Background(), n.cfg.Machine, hello, there) })
	return here, nil
}

func (s *site) put(c coord.Coord, key string, value []byte) {
	s.t.Helper()
	if _, _, err := c.Txn(s.t.Context(), coord.Txn{Then: []coord.Op{coord.Put(key, value)}}); err != nil {
		s.t.Error(err)
	}
}

// write writes a record as an operator's command would, over whatever is there.
func (s *site) write(rec cluster.StoreRecord) {
	s.put(s.coord.Client(), coord.StoreKey(rec.Store), rec.Encode())
	synctest.Wait()
}

func (s *site) read(name cluster.Store) cluster.StoreRecord {
	s.t.Helper()
	v, _, err := s.coord.Client().Get(s.t.Context(), coord.StoreKey(name))
	if err != nil {
		s.t.Fatal(err)
	}
	rec, err := cluster.DecodeStoreRecord(v)
	if err != nil {
		s.t.Fatal(err)
	}
	return rec
}

// newStore is a record of a store that never had a master: slot 1 on the first
// machine, 2 on the second and so on.
func newStore(name cluster.Store, machines ...cluster.Machine) cluster.StoreRecord {
	rec := cluster.StoreRecord{Store: name, Nonce: "first"}
	for i, m := range machines {
		rec.Slots = append(rec.Slots, cluster.SlotRef{Slot: slotID(i + 1), Machine: m})
	}
	return rec
}

func slotID(n int) cluster.SlotID { return cluster.SlotID{byte(n)} }

// within waits until check is content, at most for d.
func (s *site) within(d time.Duration, check func() error) {
	s.t.Helper()
	for end := time.Now().Add(d); ; {
		synctest.Wait()
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("not within %v: %v", d, err)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// lead makes the slot on m the master of the store.
func (s *site) lead(m cluster.Machine, name cluster.Store) {
	s.t.Helper()
	s.within(20*time.Second, func() error {
		rec := s.read(name)
		for _, x := range s.agents[m].Status().Slots {
			if x.Store != name {
				continue
			}
			if x.Serving {
				return nil
			}
			return fmt.Errorf("%+v: %w", x, s.agents[m].cfg.Remote.Nominate(s.t.Context(), m, name, x.Slot, rec.Epoch))
		}
		return fmt.Errorf("no slot of %s on %s: %+v", name, m, s.agents[m].Status())
	})
}

// states describes what an agent says: "s1 01 ok", "s1 01 lost".
func (n *node) states() string {
	st := n.Status()
	var list []string
	for _, x := range st.Slots {
		list = append(list, fmt.Sprintf("%s %x %s", x.Store, x.Slot[:1], x.State))
	}
	for _, l := range st.Lost {
		list = append(list, fmt.Sprintf("%s %x lost", l.Store, l.Slot[:1]))
	}
	return strings.Join(list, ", ")
}

func (n *node) wantStates(want string) {
	n.site.t.Helper()
	n.site.within(time.Minute, func() error {
		if got := n.states(); got != want {
			return fmt.Errorf("slots of %s: %q, want %q", n.cfg.Machine, got, want)
		}
		return nil
	})
}

func (n *node) dirs() []string {
	n.site.t.Helper()
	list, err := n.fs.List("/meta/slots")
	if err != nil {
		n.site.t.Fatal(err)
	}
	return list
}
