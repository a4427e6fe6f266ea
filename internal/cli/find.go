package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/dev"
)

// probeTime is how long a machine may take to answer that it is there.
const probeTime = 2 * time.Second

// cluster finds a machine that answers: the one named by --api, any of the dev
// cluster in --dir, or the one that this host is.
func (e *env) cluster() (*api.Client, error) {
	if e.api != "" {
		return &api.Client{Base: e.api, HTTP: http.DefaultClient}, nil
	}
	if base := hostAPI(); e.dir == "" && base != "" {
		return &api.Client{Base: base, HTTP: http.DefaultClient}, nil
	}
	if e.dir == "" {
		return nil, hinted{
			errors.New("no cluster named"),
			"give --dir DIR of a running dev cluster, or --api http://host:port of a machine; TANDEMAIL_DIR and TANDEMAIL_API do the same",
		}
	}
	d, err := dev.Find(e.dir)
	if err != nil {
		return nil, err
	}
	for _, m := range d.Machines {
		base := "http://" + m.HTTP
		if answers(e.ctx, base) {
			return &api.Client{Base: base, HTTP: http.DefaultClient}, nil
		}
	}
	return nil, hinted{fmt.Errorf("no machine of the dev cluster in %s answers", e.dir), "start it again: tandemail dev --dir " + e.dir}
}

// status asks for the whole cluster.
func (e *env) status() (api.Status, error) {
	c, err := e.cluster()
	if err != nil {
		return api.Status{}, err
	}
	return c.Status(e.ctx)
}

func answers(ctx context.Context, base string) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/healthz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
