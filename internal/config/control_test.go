package config

import (
	"strings"
	"testing"
)

// Each list of endpoints and TLS files, of a machine with or without a member,
// gives the error named.
func TestWhereTheCoordinatorMayBe(t *testing.T) {
	head, _, _ := strings.Cut(good(t), "[control]")
	const (
		member = "[control.member]\n" +
			`client = "https://192.0.2.1:2379"` + "\n" +
			`peer = "https://192.0.2.1:2380"` + "\n" +
			`initial = { m1 = "https://192.0.2.1:2380", m2 = "https://192.0.2.2:2380" }` + "\n"
		secure   = `endpoints = ["https://192.0.2.1:2379", "https://192.0.2.2:2379"]` + "\n"
		ca       = `ca = "/etc/etcd/ca.pem"` + "\n"
		identity = `certificate = "/etc/etcd/m1.pem"` + "\n" + `key = "/etc/etcd/m1.key"` + "\n"
	)
	for name, tc := range map[string]struct {
		control string
		want    string // the only one; "" is none
	}{
		"members":                     {secure + member, ""},
		"members elsewhere":           {secure, ""},
		"the site's own":              {secure + ca + identity, ""},
		"the site's own, asks nobody": {secure + ca, ""},
		"the site's own on this host": {`endpoints = ["http://127.0.0.1:2379", "http://[::1]:2379"]`, ""},
		"plain elsewhere":             {`endpoints = ["http://192.0.2.1:2379"]`, `x:12: control.endpoints: "http://192.0.2.1:2379" is not encrypted (an etcd`},
		"both":                        {`endpoints = ["http://127.0.0.1:2379", "https://192.0.2.1:2379"]`, `x:12: control.endpoints: some are http, some https`},
		"no port":                     {`endpoints = ["https://192.0.2.1"]`, `x:12: control.endpoints: "https://192.0.2.1" is no address of an etcd member`},
		"half an identity":            {secure + ca + `key = "k"`, `x: control.certificate: certificate and key belong together`},
		"no CA":                       {secure + identity, `x:13: control.certificate: is of no use without the CA of the site's own etcd`},
		"CA for plain":                {`endpoints = ["http://127.0.0.1:2379"]` + "\n" + ca, `x:13: control.ca: is of no use`},
		"CA for members":              {secure + ca + member, `x:13: control.ca: is for an etcd of the site's own`},
		"members in plain":            {`endpoints = ["http://127.0.0.1:2379"]` + "\n" + member, `x:12: control.endpoints: "http://127.0.0.1:2379" is not encrypted (members`},
		"a plain member":              {secure + strings.Replace(member, "https://192.0.2.1:2379", "http://127.0.0.1:2379", 1), `x:14: control.member.client: "http://127.0.0.1:2379" is not encrypted`},
		"a plain peer":                {secure + strings.Replace(member, "https://192.0.2.2", "http://192.0.2.2", 1), `x:16: control.member.initial: "http://192.0.2.2:2380" is not encrypted`},
		"every address":               {secure + strings.Replace(member, "192.0.2.1:2379", "0.0.0.0:2379", 1), `x:14: control.member.client: "0.0.0.0" is no address of one machine`},
		"a name":                      {secure + strings.Replace(member, "192.0.2.1:2379", "m1.example.org:2379", 1), `x:14: control.member.client: "m1.example.org" is no address`},
		"two peer addresses":          {secure + strings.Replace(member, "192.0.2.1:2380", "192.0.2.3:2380", 1), `x:16: control.member.initial: "m1" is at "https://192.0.2.1:2380", but`},
	} {
		_, err := Parse("x", []byte(head+"[control]\n"+tc.control))
		switch {
		case tc.want == "" && err == nil:
		case tc.want == "" || err == nil || !strings.HasPrefix(err.Error(), tc.want) || strings.Contains(err.Error(), "\n"):
			t.Errorf("%s: %v\nwant %q", name, err, tc.want)
		}
	}
}
