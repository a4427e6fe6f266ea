package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/tandemail/tandemail/internal/cluster"
)

// maxAnswer bounds what a client reads.
const maxAnswer = 64 << 20

// Client calls the API of one machine. It implements Backend.
type Client struct {
	Base string // "http://127.0.0.1:8025"
	HTTP *http.Client
}

var _ Backend = (*Client)(nil)

// Status implements Backend.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return call[Status](ctx, c, http.MethodGet, "/v1/status", nil)
}

// Users implements Backend.
func (c *Client) Users(ctx context.Context) ([]User, error) {
	return call[[]User](ctx, c, http.MethodGet, "/v1/users", nil)
}

// AddUser implements Backend.
func (c *Client) AddUser(ctx context.Context, u NewUser) (User, error) {
	return call[User](ctx, c, http.MethodPost, "/v1/users", u)
}

// DeleteUser implements Backend.
func (c *Client) DeleteUser(ctx context.Context, address, by string) error {
	_, err := call[struct{}](ctx, c, http.MethodDelete, "/v1/users/"+url.PathEscape(address)+"?by="+url.QueryEscape(by), nil)
	return err
}

// DeletedUsers implements Backend.
func (c *Client) DeletedUsers(ctx context.Context) ([]DeletedUser, error) {
	return call[[]DeletedUser](ctx, c, http.MethodGet, "/v1/deleted-users", nil)
}

// Undelete implements Backend.
func (c *Client) Undelete(ctx context.Context, address string, req UndeleteRequest) (UndeleteReport, error) {
	return call[UndeleteReport](ctx, c, http.MethodPost, "/v1/users/"+url.PathEscape(address)+"/undelete", req)
}

// History implements Backend.
func (c *Client) History(ctx context.Context, address string, req HistoryRequest) (UserHistory, error) {
	return call[UserHistory](ctx, c, http.MethodPost, "/v1/users/"+url.PathEscape(address)+"/history", req)
}

// Purge implements Backend.
func (c *Client) Purge(ctx context.Context, address string, req PurgeRequest) (PurgeReport, error) {
	return call[PurgeReport](ctx, c, http.MethodPost, "/v1/users/"+url.PathEscape(address)+"/purge", req)
}

// ChangeUser implements Backend.
func (c *Client) ChangeUser(ctx context.Context, address string, req UserChange) (User, error) {
	return call[User](ctx, c, http.MethodPost, "/v1/users/"+url.PathEscape(address), req)
}

// ACL implements Backend.
func (c *Client) ACL(ctx context.Context, address string, req ACLRequest) (ACLReport, error) {
	return call[ACLReport](ctx, c, http.MethodPost, "/v1/users/"+url.PathEscape(address)+"/acl", req)
}

// Retention implements Backend.
func (c *Client) Retention(ctx context.Context) (Retention, error) {
	return call[Retention](ctx, c, http.MethodGet, "/v1/retention", nil)
}

// SetRetention implements Backend.
func (c *Client) SetRetention(ctx context.Context, req Retention) (Retention, error) {
	return call[Retention](ctx, c, http.MethodPost, "/v1/retention", req)
}

// WhereUser implements Backend.
func (c *Client) WhereUser(ctx context.Context, address string) (User, error) {
	return call[User](ctx, c, http.MethodGet, "/v1/users/"+url.PathEscape(address), nil)
}

// SetPassword implements Backend.
func (c *Client) SetPassword(ctx context.Context, address string, req PasswordRequest) (User, error) {
	return call[User](ctx, c, http.MethodPost, "/v1/users/"+url.PathEscape(address)+"/password", req)
}

// SCRAM implements Backend.
func (c *Client) SCRAM(ctx context.Context) (SCRAM, error) {
	return call[SCRAM](ctx, c, http.MethodGet, "/v1/scram", nil)
}

// SetSCRAM implements Backend.
func (c *Client) SetSCRAM(ctx context.Context, req SCRAM) (SCRAM, error) {
	return call[SCRAM](ctx, c, http.MethodPost, "/v1/scram", req)
}

// ThawUser implements Backend.
func (c *Client) ThawUser(ctx context.Context, address string, req ThawRequest) (User, error) {
	return call[User](ctx, c, http.MethodPost, "/v1/users/"+url.PathEscape(address)+"/thaw", req)
}

// SkipOp implements Backend.
func (c *Client) SkipOp(ctx context.Context, store cluster.Store, req SkipRequest) (SkipReport, error) {
	return call[SkipReport](ctx, c, http.MethodPost, "/v1/stores/"+url.PathEscape(string(store))+"/skip-op", req)
}

// Switchover implements Backend.
func (c *Client) Switchover(ctx context.Context, store cluster.Store, req SwitchRequest) (SwitchReport, error) {
	return call[SwitchReport](ctx, c, http.MethodPost, "/v1/stores/"+url.PathEscape(string(store))+"/switchover", req)
}

// Failover implements Backend.
func (c *Client) Failover(ctx context.Context, store cluster.Store, req FailoverRequest) (FailoverReport, error) {
	return call[FailoverReport](ctx, c, http.MethodPost, "/v1/stores/"+url.PathEscape(string(store))+"/failover", req)
}

// Tails implements Backend.
func (c *Client) Tails(ctx context.Context, store cluster.Store) ([]Tail, error) {
	return call[[]Tail](ctx, c, http.MethodGet, "/v1/tails?store="+url.QueryEscape(string(store)), nil)
}

// Digest implements Backend.
func (c *Client) Digest(ctx context.Context, store cluster.Store) (DigestReport, error) {
	return call[DigestReport](ctx, c, http.MethodGet, "/v1/stores/"+url.PathEscape(string(store))+"/digest", nil)
}

// Drain implements Backend.
func (c *Client) Drain(ctx context.Context, m cluster.Machine) (DrainReport, error) {
	return call[DrainReport](ctx, c, http.MethodPost, "/v1/machines/"+url.PathEscape(string(m))+"/drain", nil)
}

// Reseed implements Backend.
func (c *Client) Reseed(ctx context.Context, store cluster.Store, req ReseedRequest) error {
	_, err := call[struct{}](ctx, c, http.MethodPost, "/v1/stores/"+url.PathEscape(string(store))+"/reseed", req)
	return err
}

// Undrain implements Backend.
func (c *Client) Undrain(ctx context.Context, m cluster.Machine) error {
	_, err := call[struct{}](ctx, c, http.MethodPost, "/v1/machines/"+url.PathEscape(string(m))+"/undrain", nil)
	return err
}

// Level implements Backend.
func (c *Client) Level(ctx context.Context) (ClusterLevel, error) {
	return call[ClusterLevel](ctx, c, http.MethodGet, "/v1/level", nil)
}

// FinishUpgrade implements Backend.
func (c *Client) FinishUpgrade(ctx context.Context, req UpgradeRequest) (ClusterLevel, error) {
	return call[ClusterLevel](ctx, c, http.MethodPost, "/v1/level", req)
}

// Recover implements Backend.
func (c *Client) Recover(ctx context.Context, req RecoverRequest) (RecoverReport, error) {
	return call[RecoverReport](ctx, c, http.MethodPost, "/v1/control/recover", req)
}

// Check implements Backend.
func (c *Client) Check(ctx context.Context, only cluster.Machine) ([]Check, error) {
	return call[[]Check](ctx, c, http.MethodGet, "/v1/checks?machine="+url.QueryEscape(string(only)), nil)
}

// RemoveMachine implements Backend.
func (c *Client) RemoveMachine(ctx context.Context, m cluster.Machine, req RemoveRequest) (RemoveReport, error) {
	return call[RemoveReport](ctx, c, http.MethodPost, "/v1/machines/"+url.PathEscape(string(m))+"/remove", req)
}

// CreateStores implements Backend.
func (c *Client) CreateStores(ctx context.Context, req StoresRequest) (StoresReport, error) {
	return call[StoresReport](ctx, c, http.MethodPost, "/v1/stores", req)
}

// CreateToken implements Backend.
func (c *Client) CreateToken(ctx context.Context, req TokenRequest) (Token, error) {
	return call[Token](ctx, c, http.MethodPost, "/v1/tokens", req)
}

// Tokens implements Backend.
func (c *Client) Tokens(ctx context.Context) ([]TokenStatus, error) {
	return call[[]TokenStatus](ctx, c, http.MethodGet, "/v1/tokens", nil)
}

// RevokeToken implements Backend.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	_, err := call[struct{}](ctx, c, http.MethodDelete, "/v1/tokens/"+url.PathEscape(id), nil)
	return err
}

// PKI implements Backend.
func (c *Client) PKI(ctx context.Context) (PKI, error) {
	return call[PKI](ctx, c, http.MethodGet, "/v1/pki", nil)
}

// RotateCA implements Backend.
func (c *Client) RotateCA(ctx context.Context, req RotateRequest) (RotateReport, error) {
	return call[RotateReport](ctx, c, http.MethodPost, "/v1/pki/rotate", req)
}

func call[Out any](ctx context.Context, c *Client, method, path string, in any) (Out, error) {
	var out Out
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return out, fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.Base+path, body)
	if err != nil {
		return out, fmt.Errorf("build request: %w", err)
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return out, fmt.Errorf("ask %s: %w", c.Base, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return out, fmt.Errorf("read answer of %s: %w", c.Base, err)
	}
	if resp.StatusCode != http.StatusOK {
		e := &Error{Status: resp.StatusCode}
		if json.Unmarshal(b, e) != nil || e.Message == "" {
			e.Message = fmt.Sprintf("%s answered %s", c.Base, resp.Status)
		}
		return out, e
	}
	if err := json.Unmarshal(b, &out); err != nil {
		return out, fmt.Errorf("answer of %s is no valid document: %w", c.Base, err)
	}
	return out, nil
}
