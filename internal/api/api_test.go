package api

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tandemail/tandemail/internal/cluster"
)

// echo is a Backend that answers with what it was asked.
type echo struct{ Backend }

func (echo) Status(context.Context) (Status, error) {
	return Status{Cluster: "example", Stores: []StoreStatus{{Name: "s1", Epoch: 3, Master: "m1", InSync: []cluster.Machine{"m1", "m2"}}}}, nil
}

func (echo) AddUser(_ context.Context, u NewUser) (User, error) {
	if u.Password == "" {
		return User{}, &Error{Status: http.StatusBadRequest, Message: "a user needs a password", Hint: "give --password"}
	}
	return User{Address: u.Address, Store: u.Store}, nil
}

func (echo) DeleteUser(_ context.Context, address, by string) error {
	return errors.New("secret detail about " + address)
}

func (echo) WhereUser(_ context.Context, address string) (User, error) {
	return User{Address: address}, nil
}

func (echo) Switchover(_ context.Context, s cluster.Store, r SwitchRequest) (SwitchReport, error) {
	return SwitchReport{Store: s, To: r.To, HeldMsec: 12.5}, nil
}

// figures stand for a machine's metrics.
var figures = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "figures 7\n") })

func newTestClient(t *testing.T, log io.Writer) *Client {
	srv := httptest.NewServer(NewHandler(echo{}, figures, slog.New(slog.NewTextHandler(log, nil))))
	t.Cleanup(srv.Close)
	return &Client{Base: srv.URL, HTTP: srv.Client()}
}

func TestClientAndServerCarryDocumentsUnchanged(t *testing.T) {
	c := newTestClient(t, io.Discard)
	got, err := c.Status(t.Context())
	want, _ := echo{}.Status(t.Context())
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("status: %v\n%s", err, diff)
	}
	u, err := c.AddUser(t.Context(), NewUser{Address: "a@example.test", Password: "x", Store: "s1"})
	if err != nil || u.Address != "a@example.test" || u.Store != "s1" {
		t.Errorf("user %+v, %v", u, err)
	}
	if u, err = c.WhereUser(t.Context(), "odd/name?@example.test"); err != nil || u.Address != "odd/name?@example.test" {
		t.Errorf("where %+v, %v", u, err)
	}
	if r, err := c.Switchover(t.Context(), "s1", SwitchRequest{To: "m2"}); err != nil || r.To != "m2" || r.HeldMsec != 12.5 {
		t.Errorf("switch %+v, %v", r, err)
	}
}

func TestCallersMistakeComesBackWithItsHint(t *testing.T) {
	_, err := newTestClient(t, io.Discard).AddUser(t.Context(), NewUser{Address: "a"})
	var e *Error
	if !errors.As(err, &e) || e.Status != http.StatusBadRequest || e.Hint != "give --password" {
		t.Errorf("got %#v", err)
	}
}

func TestInternalErrorIsLoggedAndNotShown(t *testing.T) {
	var log strings.Builder
	err := newTestClient(t, &log).DeleteUser(t.Context(), "a@example.test", "o")
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("caller sees %v", err)
	}
	if !strings.Contains(log.String(), "secret detail about a@example.test") {
		t.Errorf("log: %s", log.String())
	}
}

func TestUnknownFieldsAndHugeRequestsAreRefused(t *testing.T) {
	c := newTestClient(t, io.Discard)
	for name, body := range map[string]string{
		"unknown field": `{"user":"a","password":"b","colour":"red"}`,
		"huge":          `{"user":"` + strings.Repeat("a", maxRequest) + `"}`,
		"garbage":       `{{{`,
	} {
		resp, err := c.HTTP.Post(c.Base+"/v1/users", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", name, resp.Status)
		}
	}
}
