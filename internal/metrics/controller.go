package metrics

import (
	"github.com/tandemail/tandemail/internal/controller"
	"github.com/tandemail/tandemail/internal/plan"
)

// candidate is this machine's controller, elected or not.
type candidate struct {
	leading, planned, severities, problems, actions *family

	report func() controller.Report
	acted  func() map[controller.Acted]int64
}

func newController(t *table, s Sources) *candidate {
	return &candidate{
		leading:    t.gauge("controller_leading", "1 if this machine's controller is the elected one."),
		planned:    t.gauge("controller_plan_timestamp_seconds", "When the elected controller made its last plan; absent elsewhere."),
		severities: t.gauge("problems_by_severity", "Problems that the elected controller sees, by severity; absent elsewhere.", "severity"),
		problems:   t.gauge("problems", "Problems that the elected controller sees, by code; a code without any is absent.", "code", "severity"),
		actions:    t.counter("controller_actions_total", "Actions that this machine's controller carried out, by kind and result.", "kind", "result"),
		report:     s.Controller, acted: s.Actions,
	}
}

// problem is what problems are counted by.
type problem struct {
	code     plan.Code
	severity plan.Severity
}

func (c *candidate) collect(o out) {
	if c.report != nil {
		r := c.report()
		o.flag(c.leading, r.Leading)
		if r.Leading {
			c.plan(o, r)
		}
	}
	if c.acted != nil {
		acted := c.acted()
		for _, kind := range []plan.Kind{plan.Nominate, plan.Drain, plan.Return, plan.Reseed} {
			o.set(c.actions, float64(acted[controller.Acted{Kind: kind}]), string(kind), "ok")
			o.set(c.actions, float64(acted[controller.Acted{Kind: kind, Failed: true}]), string(kind), "failed")
		}
	}
}

func (c *candidate) plan(o out, r controller.Report) {
	if !r.At.IsZero() {
		o.set(c.planned, seconds(r.At))
	}
	count, severities := map[problem]int{}, map[plan.Severity]int{}
	for _, p := range r.Problems {
		count[problem{p.Code, p.Severity}]++
		severities[p.Severity]++
	}
	for p, n := range count {
		o.set(c.problems, float64(n), string(p.code), string(p.severity))
	}
	for _, s := range []plan.Severity{plan.Critical, plan.Warning, plan.Note} {
		o.set(c.severities, float64(severities[s]), string(s))
	}
}
