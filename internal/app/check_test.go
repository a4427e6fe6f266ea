package app

import (
	"net/http"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/config"
	"github.com/tandemail/tandemail/internal/coord"
)

func TestFiguresAreGradedInEitherDirection(t *testing.T) {
	for _, tc := range []struct {
		got, want string
	}{
		{grade(9*time.Millisecond, 10*time.Millisecond, 100*time.Millisecond), api.CheckOK},
		{grade(10*time.Millisecond, 10*time.Millisecond, 100*time.Millisecond), api.CheckWarn},
		{grade(time.Second, 10*time.Millisecond, 100*time.Millisecond), api.CheckFail},
		{grade(21.0, 20, 5), api.CheckOK},
		{grade(19.0, 20, 5), api.CheckWarn},
		{grade(1.0, 20, 5), api.CheckFail},
	} {
		if tc.got != tc.want {
			t.Errorf("got %s, want %s", tc.got, tc.want)
		}
	}
}

func TestAMachineThatDoesNotAnswerFailsItsCheck(t *testing.T) {
	r := newRig(t)
	for _, m := range []string{"m1", "m2"} {
		r.put(coord.MachinesPrefix+m, []byte(`{"machine":"`+m+`"}`))
	}
	list, err := r.Check(t.Context(), "")
	if err != nil || len(list) != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	for _, c := range list {
		if c.State != api.CheckFail || c.About != "everything" {
			t.Errorf("%+v", c)
		}
	}
	_, err = r.Check(t.Context(), "m9")
	wantError(t, err, http.StatusNotFound, "there is no machine m9")
}

func TestAMachineLooksAtItsDisksAndAtItsWays(t *testing.T) {
	r := newRig(t)
	r.cfg.Roles, r.cfg.Meta, r.cfg.Spool = []string{config.RoleStorage}, t.TempDir(), t.TempDir()+"/missing"
	states := map[string]string{}
	for _, c := range r.check(t.Context(), controlRequest{Self: true, To: []cluster.Machine{"m2"}}) {
		if c.Machine != "m1" || c.Text == "" || c.Hint == "" {
			t.Errorf("%+v", c)
		}
		states[c.About] = c.State
	}
	r.cfg.Roles, r.cfg.Control.Member = nil, &config.Member{}
	if list := r.checkSelf(); len(list) != 3 || list[1].About != "sync of meta" {
		t.Errorf("a witness looks at %+v", list)
	}
	if states["sync of meta"] == "" || states["sync of spool"] != api.CheckFail || states["to m2"] != api.CheckFail || states["open files"] == "" {
		t.Errorf("states %v", states)
	}
}
