package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/tandemail/tandemail/internal/cluster"
)

// maxRequest bounds a request's document.
const maxRequest = 1 << 20

// NewHandler serves b under /v1/, and beside it what tells about this process alone:
// whether it is alive, its metrics and its profiles. log gets what callers must not see.
func NewHandler(b Backend, metrics http.Handler, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	for _, routes := range []map[string]http.HandlerFunc{(&server{b, log}).routes(), processRoutes(metrics)} {
		for pattern, h := range routes {
			mux.HandleFunc(pattern, h)
		}
	}
	return mux
}

// routes is the whole interface to the cluster; a test keeps docs/http.md in step with it.
func (s *server) routes() map[string]http.HandlerFunc {
	b := s.backend
	return map[string]http.HandlerFunc{
		"GET /v1/status": answer(s, func(r *http.Request) (Status, error) { return b.Status(r.Context()) }),
		"GET /v1/users":  answer(s, func(r *http.Request) ([]User, error) { return b.Users(r.Context()) }),
		"POST /v1/users": with(s, func(r *http.Request, u NewUser) (User, error) { return b.AddUser(r.Context(), u) }),
		"GET /v1/users/{user}": answer(s, func(r *http.Request) (User, error) {
			return b.WhereUser(r.Context(), r.PathValue("user"))
		}),
		"POST /v1/users/{user}": with(s, func(r *http.Request, req UserChange) (User, error) {
			return b.ChangeUser(r.Context(), r.PathValue("user"), req)
		}),
		"POST /v1/users/{user}/acl": with(s, func(r *http.Request, req ACLRequest) (ACLReport, error) {
			return b.ACL(r.Context(), r.PathValue("user"), req)
		}),
		"DELETE /v1/users/{user}": answer(s, func(r *http.Request) (struct{}, error) {
			return struct{}{}, b.DeleteUser(r.Context(), r.PathValue("user"), r.URL.Query().Get("by"))
		}),
		"POST /v1/users/{user}/password": with(s, func(r *http.Request, req PasswordRequest) (User, error) {
			return b.SetPassword(r.Context(), r.PathValue("user"), req)
		}),
		"GET /v1/scram":         answer(s, func(r *http.Request) (SCRAM, error) { return b.SCRAM(r.Context()) }),
		"POST /v1/scram":        with(s, func(r *http.Request, req SCRAM) (SCRAM, error) { return b.SetSCRAM(r.Context(), req) }),
		"GET /v1/deleted-users": answer(s, func(r *http.Request) ([]DeletedUser, error) { return b.DeletedUsers(r.Context()) }),
		"POST /v1/users/{user}/undelete": with(s, func(r *http.Request, req UndeleteRequest) (UndeleteReport, error) {
			return b.Undelete(r.Context(), r.PathValue("user"), req)
		}),
		"POST /v1/users/{user}/history": with(s, func(r *http.Request, req HistoryRequest) (UserHistory, error) {
			return b.History(r.Context(), r.PathValue("user"), req)
		}),
		"POST /v1/users/{user}/purge": with(s, func(r *http.Request, req PurgeRequest) (PurgeReport, error) {
			return b.Purge(r.Context(), r.PathValue("user"), req)
		}),
		"GET /v1/retention": answer(s, func(r *http.Request) (Retention, error) { return b.Retention(r.Context()) }),
		"POST /v1/retention": with(s, func(r *http.Request, req Retention) (Retention, error) {
			return b.SetRetention(r.Context(), req)
		}),
		"POST /v1/stores/{store}/switchover": with(s, func(r *http.Request, req SwitchRequest) (SwitchReport, error) {
			return b.Switchover(r.Context(), cluster.Store(r.PathValue("store")), req)
		}),
		"POST /v1/stores/{store}/failover": with(s, func(r *http.Request, req FailoverRequest) (FailoverReport, error) {
			return b.Failover(r.Context(), cluster.Store(r.PathValue("store")), req)
		}),
		"GET /v1/tails": answer(s, func(r *http.Request) ([]Tail, error) {
			return b.Tails(r.Context(), cluster.Store(r.URL.Query().Get("store")))
		}),
		"GET /v1/stores/{store}/digest": answer(s, func(r *http.Request) (DigestReport, error) {
			return b.Digest(r.Context(), cluster.Store(r.PathValue("store")))
		}),
		"POST /v1/stores/{store}/reseed": with(s, func(r *http.Request, req ReseedRequest) (struct{}, error) {
			return struct{}{}, b.Reseed(r.Context(), cluster.Store(r.PathValue("store")), req)
		}),
		"POST /v1/stores/{store}/skip-op": with(s, func(r *http.Request, req SkipRequest) (SkipReport, error) {
			return b.SkipOp(r.Context(), cluster.Store(r.PathValue("store")), req)
		}),
		"POST /v1/users/{user}/thaw": with(s, func(r *http.Request, req ThawRequest) (User, error) {
			return b.ThawUser(r.Context(), r.PathValue("user"), req)
		}),
		"POST /v1/machines/{machine}/drain": answer(s, func(r *http.Request) (DrainReport, error) {
			return b.Drain(r.Context(), cluster.Machine(r.PathValue("machine")))
		}),
		"POST /v1/machines/{machine}/undrain": answer(s, func(r *http.Request) (struct{}, error) {
			return struct{}{}, b.Undrain(r.Context(), cluster.Machine(r.PathValue("machine")))
		}),
		"GET /v1/level": answer(s, func(r *http.Request) (ClusterLevel, error) { return b.Level(r.Context()) }),
		"POST /v1/level": with(s, func(r *http.Request, req UpgradeRequest) (ClusterLevel, error) {
			return b.FinishUpgrade(r.Context(), req)
		}),
		"POST /v1/control/recover": with(s, func(r *http.Request, req RecoverRequest) (RecoverReport, error) {
			return b.Recover(r.Context(), req)
		}),
		"GET /v1/checks": answer(s, func(r *http.Request) ([]Check, error) {
			return b.Check(r.Context(), cluster.Machine(r.URL.Query().Get("machine")))
		}),
		"POST /v1/machines/{machine}/remove": with(s, func(r *http.Request, req RemoveRequest) (RemoveReport, error) {
			return b.RemoveMachine(r.Context(), cluster.Machine(r.PathValue("machine")), req)
		}),
		"POST /v1/stores": with(s, func(r *http.Request, req StoresRequest) (StoresReport, error) {
			return b.CreateStores(r.Context(), req)
		}),
		"POST /v1/tokens": with(s, func(r *http.Request, req TokenRequest) (Token, error) {
			return b.CreateToken(r.Context(), req)
		}),
		"GET /v1/tokens": answer(s, func(r *http.Request) ([]TokenStatus, error) { return b.Tokens(r.Context()) }),
		"DELETE /v1/tokens/{token}": answer(s, func(r *http.Request) (struct{}, error) {
			return struct{}{}, b.RevokeToken(r.Context(), r.PathValue("token"))
		}),
		"GET /v1/pki": answer(s, func(r *http.Request) (PKI, error) { return b.PKI(r.Context()) }),
		"POST /v1/pki/rotate": with(s, func(r *http.Request, req RotateRequest) (RotateReport, error) {
			return b.RotateCA(r.Context(), req)
		}),
	}
}

type server struct {
	backend Backend
	log     *slog.Logger
}

// answer serves a call that takes no document.
func answer[Out any](s *server, call func(*http.Request) (Out, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		out, err := call(r)
		s.reply(w, r, out, err)
	}
}

// with serves a call that takes a JSON document; an absent one is its zero value.
func with[In, Out any](s *server, call func(*http.Request, In) (Out, error)) http.HandlerFunc {
	return answer(s, func(r *http.Request) (Out, error) {
		var in In
		if r.ContentLength != 0 {
			d := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxRequest))
			d.DisallowUnknownFields()
			if err := d.Decode(&in); err != nil {
				var none Out
				return none, &Error{Status: http.StatusBadRequest, Message: fmt.Sprintf("request is no valid document: %v", err)}
			}
		}
		return call(r, in)
	})
}

func (s *server) reply(w http.ResponseWriter, r *http.Request, out any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		var e *Error
		if !errors.As(err, &e) {
			s.log.Warn("request failed", "command", r.Method+" "+r.URL.Path, "remote", r.RemoteAddr, "err", err)
			e = &Error{Status: http.StatusInternalServerError, Message: "the request failed; this machine's log says why"}
		}
		w.WriteHeader(e.Status)
		out = e
	}
	if err := json.NewEncoder(w).Encode(out); err != nil {
		s.log.Debug("answer not sent", "remote", r.RemoteAddr, "err", err)
	}
}
