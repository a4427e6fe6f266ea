package metrics

import (
	"time"

	"github.com/tandemail/tandemail/internal/accept"
	"github.com/tandemail/tandemail/internal/agent"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/controller"
	"github.com/tandemail/tandemail/internal/directory"
	"github.com/tandemail/tandemail/internal/disk"
	"github.com/tandemail/tandemail/internal/host"
	"github.com/tandemail/tandemail/internal/proxy"
	"github.com/tandemail/tandemail/internal/remote"
	"github.com/tandemail/tandemail/internal/route"
	"github.com/tandemail/tandemail/internal/router"
	"github.com/tandemail/tandemail/internal/tail"
)

// Sources are what a machine's metrics are read from. What is nil is not there, as
// on a machine without the role; all of it is called from any goroutine.
type Sources struct {
	Cluster string
	Machine cluster.Machine

	Disks map[string]*disk.Disk    // by what they are for: "meta", and "spool" if it is another
	Slots func() []agent.SlotStats // one a store
	Tails func() []*tail.Report    // what forced failovers left here
	Host  func() host.Stats
	Link  func() accept.Stats
	// RenewBy is when the certificate should be renewed at the latest.
	RenewBy func() time.Time

	Shared   func() remote.ServerStats // accounts here for sessions elsewhere
	Accounts func() remote.Stats       // those elsewhere for sessions here

	Clients    map[string]func() proxy.Stats // by protocol: "imap", "pop3"
	LMTP       func() accept.Stats
	Router     func() router.Stats
	Deliveries *Deliveries

	Routes    func() []route.Route
	Directory func() directory.Stats
	Coord     *Coord
	Database  func() Database // of the member that runs here
	// Controller and Actions are of this machine's candidate.
	Controller func() controller.Report
	Actions    func() map[controller.Acted]int64
}
