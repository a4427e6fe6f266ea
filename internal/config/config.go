// Package config reads the one TOML file of a machine. It is strict: an unknown
// key, a wrong type and an impossible value are errors, and all of them are
// reported at once, each with file, line and a hint. What can be decided by the
// program is not a key here: there are no tuning knobs.
package config

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Config is a machine's configuration. Parse gives one with every default filled in.
type Config struct {
	// Cluster is the site's name; every machine of the cluster has the same.
	Cluster string `toml:"cluster"`
	// Machine is this machine's name in the cluster.
	Machine string `toml:"machine"`
	// Zone is the failure domain (rack, room). Default: the machine's own name.
	Zone string `toml:"zone"`
	// Roles that this process runs: "storage", "front", "control". Default: all.
	Roles []string `toml:"roles"`
	// Meta is the directory on the fast disk: journals, indexes, membership.
	Meta string `toml:"meta"`
	// Spool is the directory on the big disk. Default: the meta directory's sibling "spool".
	Spool string `toml:"spool"`

	Listen  Listen  `toml:"listen"`
	PKI     PKI     `toml:"pki"`
	Control Control `toml:"control"`
	Client  Client  `toml:"client"`
	Mail    Mail    `toml:"mail"`
	Degrade string  `toml:"degraded"` // "accept" (default) or "refuse" writes with one copy left
}

// Listen are the addresses served, "host:port". An empty one is not served.
type Listen struct {
	Internal string `toml:"internal"` // mutual TLS between machines
	LMTP     string `toml:"lmtp"`
	IMAP     string `toml:"imap"`
	IMAPS    string `toml:"imaps"` // implicit TLS
	// IMAPLocal is IMAP for the users whose master is this machine alone, without the
	// front end's holding and resuming: for proxies that find the machine themselves.
	IMAPLocal string `toml:"imap_local"`
	POP3      string `toml:"pop3"`
	POP3S     string `toml:"pop3s"` // implicit TLS
	HTTP      string `toml:"http"`  // the API: see docs/http.md
}

// PKI says where the cluster's certificates are.
type PKI struct {
	Dir string `toml:"dir"` // see package pki; default: meta directory + "/pki"
}

// Control is the coordinator: a member in this process, or a cluster of the site's own.
type Control struct {
	// Endpoints of an etcd cluster, "https://host:port". With an embedded member:
	// the client addresses of all members.
	Endpoints []string `toml:"endpoints"`
	// CA in PEM signs the certificates of the site's own etcd; without it the members
	// are this cluster's machines, and show and ask for the certificates of package pki.
	CA string `toml:"ca"`
	// Certificate and Key in PEM are this machine's at the site's own etcd, if it asks.
	Certificate string `toml:"certificate"`
	Key         string `toml:"key"`
	// Fence is a command that switches a machine off, called with its name by a forced
	// failover; its success vouches that the machine is off. Absolute.
	Fence string `toml:"fence"`
	// Member is this machine's embedded member; absent when etcd is the site's own.
	Member *Member `toml:"member"`
}

// Plain says that the coordinator is not spoken to by TLS, which only an etcd of the
// site's own on loopback is. All endpoints are alike.
func (c Control) Plain() bool {
	return len(c.Endpoints) > 0 && strings.HasPrefix(strings.ToLower(c.Endpoints[0]), "http:")
}

// Member is an embedded etcd member.
type Member struct {
	Client string `toml:"client"` // "https://host:port" it serves clients on
	Peer   string `toml:"peer"`   // "https://host:port" it talks to its peers on
	// Initial maps the machine names of members that found the cluster together to
	// their peer addresses. Without it the member belongs to a cluster that exists.
	Initial map[string]string `toml:"initial"`
	Dir     string            `toml:"dir"` // default: meta directory + "/etcd"
}

// Client says what clients of the front end may do.
type Client struct {
	// PlaintextAuth allows log-ins before TLS. Default false; loopback always may.
	PlaintextAuth bool `toml:"plaintext_auth"`
	// Certificate and Key in PEM for clients' TLS; without them STARTTLS is not offered.
	Certificate string `toml:"certificate"`
	Key         string `toml:"key"`
	// CA in PEM certifies users, who log in with their certificates then.
	CA string `toml:"ca"`
	// MaxConnections per listener.
	MaxConnections int `toml:"max_connections"`
	// MaxSessionsPerUser is how many sessions a user may have at a machine at a time.
	MaxSessionsPerUser int `toml:"max_sessions_per_user"`
	// OAuth is the provider whose tokens let users in; absent: none do.
	OAuth *OAuth `toml:"oauth"`
}

// OAuth is an OpenID provider, and which of its tokens are for us.
type OAuth struct {
	Issuer   string `toml:"issuer"`   // its URL
	Audience string `toml:"audience"` // that tokens must have
	Claim    string `toml:"claim"`    // that names the user
	Scope    string `toml:"scope"`    // that tokens must have; "" is none
}

// Mail is policy about messages.
type Mail struct {
	MaxSize      int64    `toml:"max_size"`      // octets of one message
	Trusted      []string `toml:"trusted"`       // networks that may use XFORWARD
	HoldLMTP     duration `toml:"hold_lmtp"`     // longest wait for a master before 451
	HoldSessions duration `toml:"hold_sessions"` // longest wait of a log-in or a session
}

// duration is a time.Duration written as "8s".
type duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = duration(v)
	return err
}

// MarshalText implements encoding.TextMarshaler.
func (d duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// Duration returns d as a time.Duration.
func (d duration) Duration() time.Duration { return time.Duration(d) }

// Role names.
const (
	RoleStorage = "storage"
	RoleFront   = "front"
	RoleControl = "control"
)

// Has reports whether this machine runs role.
func (c *Config) Has(role string) bool {
	return slices.Contains(c.Roles, role)
}

func (c *Config) setDefaults() {
	if len(c.Roles) == 0 {
		c.Roles = []string{RoleStorage, RoleFront, RoleControl}
	}
	c.Zone = cmp.Or(c.Zone, c.Machine)
	if c.Meta != "" { // without it nothing has a place, which is reported
		c.Spool = cmp.Or(c.Spool, filepath.Join(filepath.Dir(c.Meta), "spool"))
		c.PKI.Dir = cmp.Or(c.PKI.Dir, filepath.Join(c.Meta, "pki"))
		if m := c.Control.Member; m != nil {
			m.Dir = cmp.Or(m.Dir, filepath.Join(c.Meta, "etcd"))
		}
	}
	c.Degrade = cmp.Or(c.Degrade, "accept")
	c.Client.MaxConnections = cmp.Or(c.Client.MaxConnections, 20_000)
	c.Client.MaxSessionsPerUser = cmp.Or(c.Client.MaxSessionsPerUser, 100)
	if o := c.Client.OAuth; o != nil {
		o.Claim = cmp.Or(o.Claim, "email")
	}
	c.Mail.MaxSize = cmp.Or(c.Mail.MaxSize, 100<<20)
	c.Mail.HoldLMTP = cmp.Or(c.Mail.HoldLMTP, duration(8*time.Second))
	c.Mail.HoldSessions = cmp.Or(c.Mail.HoldSessions, duration(20*time.Second))
}
