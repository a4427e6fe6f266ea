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
