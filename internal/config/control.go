package config

import (
	"maps"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
)

// checkControl: what a member says and hears decides who is master, so without TLS
// it stays on this host.
func (p *collector) checkControl(c *Config) {
	if len(c.Control.Endpoints) == 0 {
		p.add("control.endpoints", `such as ["https://192.0.2.1:2379"]`, "is missing")
	}
	schemes := map[string]bool{}
	for _, e := range c.Control.Endpoints {
		u := p.checkURL("control.endpoints", e)
		if u != nil {
			schemes[u.Scheme] = true
		}
		switch {
		case u == nil || u.Scheme == "https":
		case c.Control.Member != nil:
			p.add("control.endpoints", membersHint, "%q is not encrypted", e)
		case !isLoopback(u.Hostname()):
			p.add("control.endpoints", `an etcd that asks for no TLS is taken on loopback only; write "https" and give control.ca`, "%q is not encrypted", e)
		}
	}
	if len(schemes) > 1 {
		p.add("control.endpoints", "a cluster has one of them", "some are http, some https")
	}
	p.checkControlTLS(c.Control)
	if f := c.Control.Fence; f != "" && !filepath.IsAbs(f) {
		p.add("control.fence", `a path such as "/usr/local/sbin/fence"`, "%q is not absolute", f)
	}
	if c.Control.Member != nil {
		p.checkMember(c.Machine, *c.Control.Member)
	}
}

const membersHint = `members have the certificates of the cluster, so write "https"`

func (p *collector) checkControlTLS(c Control) {
	if (c.Certificate == "") != (c.Key == "") {
		p.add("control.certificate", "give both or none", "certificate and key belong together")
	}
	switch {
	case c.CA == "" && c.Certificate != "":
		p.add("control.certificate", "control.ca", "is of no use without the CA of the site's own etcd")
	case c.CA == "":
	case c.Member != nil:
		p.add("control.ca", "members have the certificates of the cluster: remove it", "is for an etcd of the site's own")
	case c.Plain():
		p.add("control.ca", `write "https" in control.endpoints`, "is of no use with endpoints that are http")
	}
}

func (p *collector) checkMember(machine string, m Member) {
	p.checkMemberURL("control.member.client", m.Client)
	p.checkMemberURL("control.member.peer", m.Peer)
	switch own := m.Initial[machine]; {
	case len(m.Initial) == 0:
	case own == "":
		p.add("control.member.initial", "it lists the peer address of every first member, this machine's too", "%q is not in it", machine)
	case own != m.Peer:
		p.add("control.member.initial", "it is the same on every machine", "%q is at %q, but control.member.peer is %q", machine, own, m.Peer)
	}
	for _, name := range slices.Sorted(maps.Keys(m.Initial)) {
		peer := m.Initial[name]
		if u := p.checkURL("control.member.initial", peer); u != nil && u.Scheme != "https" {
			p.add("control.member.initial", membersHint, "%q is not encrypted", peer)
		}
	}
}

// checkMemberURL: the member listens there, and tells others to find it there.
func (p *collector) checkMemberURL(key, v string) {
	u := p.checkURL(key, v)
	if u == nil {
		return
	}
	if u.Scheme != "https" {
		p.add(key, membersHint, "%q is not encrypted", v)
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err != nil || ip.IsUnspecified() {
		p.add(key, "the IP address at which the others reach this machine", "%q is no address of one machine", u.Hostname())
	}
}

// checkURL returns nil if it has reported v.
func (p *collector) checkURL(key, v string) *url.URL {
	u, err := url.Parse(v)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.Port() == "" {
		p.add(key, `such as "https://192.0.2.1:2379"`, "%q is no address of an etcd member", v)
		return nil
	}
	return u
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
