package replica_test

import (
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/tandemail/tandemail/internal/sim"
)

// TestScenarios runs the stories in testdata/scenarios, which document the
// protocol. sim.Script.Do lists the commands. -rewrite writes what happened.
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata/scenarios", func(t *testing.T, path string) {
		s := sim.NewScript()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var args []string
			for _, a := range d.CmdArgs {
				args = append(args, a.Key)
			}
			return s.Do(d.Cmd, args...)
		})
	})
}
