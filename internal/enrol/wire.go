package enrol

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/link"
	"github.com/tandemail/tandemail/internal/pki"
)

// wireVersion is of both documents below.
const wireVersion = 1

// maxDocument bounds either, in octets.
const maxDocument = 64 << 10

// Request is what a new machine says of itself.
type Request struct {
	Version int             `json:"version"`
	Secret  []byte          `json:"secret"` // of the token
	Machine cluster.Machine `json:"machine"`
	Zone    cluster.Zone    `json:"zone"`
	Roles   []string        `json:"roles"` // none: those of the token
	// Link is its internal port, "host:port".
	Link string `json:"link"`
	// CSR asks for its certificate, in PEM.
	CSR string `json:"csr"`
}

// Answer is what it needs to be a machine of the cluster.
type Answer struct {
	Version     int      `json:"version"`
	Cluster     string   `json:"cluster"`
	Roles       []string `json:"roles"`
	Certificate string   `json:"certificate"` // the machine's, in PEM
	CA          string   `json:"ca"`          // the CA's certificate, in PEM
	CAKey       string   `json:"ca_key,omitempty"`
	// Endpoints are the coordinator's members, for control.endpoints.
	Endpoints []string `json:"endpoints"`
	// Member: it runs a member of the coordinator, which exists.
	Member bool `json:"member"`
	// Refused is why not, and Hint what to do; all else is empty then.
	Refused string `json:"refused,omitempty"`
	Hint    string `json:"hint,omitempty"`
}

// Refusal is the answer of a cluster that does not let a machine in.
type Refusal struct{ Reason, Hint string }

// Error is the reason.
func (r *Refusal) Error() string { return r.Reason }

// Ask exchanges the token for an answer at the first of its addresses that can be
// reached. The error is a *Refusal if the cluster said no.
func Ask(ctx context.Context, t Token, req Request) (Answer, error) {
	req.Version, req.Secret = wireVersion, t.secret[:]
	var errs []error
	for _, address := range t.Addresses {
		a, err := askOne(ctx, address, t.Authority, req)
		var no *Refusal
		if err == nil || errors.As(err, &no) || ctx.Err() != nil {
			return a, err
		}
		errs = append(errs, err)
	}
	return Answer{}, errors.Join(errs...)
}

func askOne(ctx context.Context, address string, authority pki.KeyID, req Request) (a Answer, err error) {
	nc, err := link.Guest(ctx, address, authority)
	if err != nil {
		return a, err
	}
	defer nc.Close()
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	defer stop()
	if err := send(nc, req); err != nil {
		return a, fmt.Errorf("ask %s: %w", address, err)
	}
	if err := receive(nc, &a); err != nil {
		return a, fmt.Errorf("answer of %s: %w", address, err)
	}
	switch {
	case a.Refused != "":
		return Answer{}, &Refusal{a.Refused, a.Hint}
	case a.Version != wireVersion:
		return Answer{}, fmt.Errorf("answer of %s: version %d: %w", address, a.Version, cluster.ErrNewer)
	}
	return a, nil
}

// send writes one document, as a line.
func send(w io.Writer, document any) error {
	b, err := json.Marshal(document)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// receive reads one. What is too long is cut, and then no document.
func receive(nc net.Conn, document any) error {
	return json.NewDecoder(io.LimitReader(nc, maxDocument)).Decode(document)
}
