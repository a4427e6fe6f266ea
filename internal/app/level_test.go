package app

import (
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/tandemail/tandemail/internal/agent"
	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/coord"
)

func TestLevelRisesOnlyWhenEveryMachineSupportsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.putMachine(coord.MachineRecord{Machine: "m1", Storage: true})
		r.putMachine(coord.MachineRecord{Machine: "m2", Storage: true})
		r.putMachine(coord.MachineRecord{Machine: "m3"})
		r.put(coord.LiveKey("m2"), coord.Encode(coord.LiveRecord{Machine: "m2", Level: 2})) // its agent's word counts
		finish := func() error {
			_, err := r.FinishUpgrade(t.Context(), api.UpgradeRequest{Level: 2, By: "root@m1"})
			return err
		}
		r.agents["m1"] = agent.Status{Level: 2}
		r.put(coord.SettingsKey, coord.Encode(coord.Settings{NoReturn: true}))
		wantError(t, finish(), http.StatusConflict, "level 2 is not supported everywhere: m2 does not answer, m3 does not answer")
		r.agents["m2"] = agent.Status{} // a release that did not say
		r.put(coord.LiveKey("m3"), coord.Encode(coord.LiveRecord{Machine: "m3", Level: 3}))
		wantError(t, finish(), http.StatusConflict, "level 2 is not supported everywhere: m2 supports 1")
		if l, err := r.Level(t.Context()); err != nil || l.Level != 1 || l.Next != 1 {
			t.Errorf("before: %+v, %v", l, err)
		}
		r.agents["m2"] = agent.Status{Level: 2}
		if l, err := r.Level(t.Context()); err != nil || l.Level != 1 || l.Next != 2 {
			t.Errorf("when it can be finished: %+v, %v", l, err)
		}
		if err := finish(); err != nil {
			t.Fatal(err)
		}
		wantError(t, finish(), http.StatusConflict, "the cluster's level is 2 already")
		p, err := r.look(t.Context())
		if err != nil || p.settings.Level != 2 || !p.settings.NoReturn {
			t.Errorf("settings %+v, %v", p.settings, err)
		}
	})
}
