# The build needs nothing but Go: see CONTRIBUTING.md. Here is what runs for long.
RUNS ?= 1000
DIR ?= /tmp/tandemail-campaign
SEED ?= 1

# Faults of disks on RUNS stores in virtual time, one line a run in DIR/runs.jsonl.
# Called again it goes on where it was; failed runs leave their disks in DIR.
.PHONY: campaign
campaign:
	mkdir -p $(DIR)
	go test ./internal/campaign -run 'TestCampaign$$' -v -count=1 -timeout 0 \
		-campaign.runs=$(RUNS) -campaign.dir=$(DIR) -campaign.seed=$(SEED)

# Each fuzz target of the packages in FUZZ, an expression, one after the other for TIME, on
# one core. What one finds is in its testdata/fuzz; the others run all the same.
TIME ?= 1m
FUZZ ?= .
.PHONY: fuzz
fuzz:
	@failed=0; \
	for f in $$(grep -rHoE --include='*_test.go' '^func Fuzz[A-Za-z0-9]+' internal | sed 's/func //' | grep -E '$(FUZZ)' | sort); do \
		pkg=./$$(dirname "$${f%%:*}"); name=$${f##*:}; \
		echo "== $$pkg $$name"; \
		go test "$$pkg" -run '^$$' -fuzz "^$$name\$$" -fuzztime=$(TIME) -parallel=1 -timeout 0 || failed=1; \
	done; exit $$failed
