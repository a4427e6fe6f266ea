package etcd

import "slices"

// ordinary are warnings, and etcd's errors, about what happens in a cluster that is
// well: when it is founded, and whenever a machine starts, stops or is replaced.
// A person is told of none; everything that is not listed is a warning.
var ordinary = []struct {
	because  string
	messages []string
}{
	{"it is our decision", []string{
		"Running http and grpc server on single port. This is not recommended for production.",
		"simple token is not cryptographically signed",
	}},
	{"a cluster that is being founded has not agreed on its version yet; it is tried again", []string{
		"Failed to detect schema version",
		"failed to update storage version",
	}},
	{"a peer that stops or starts breaks its connections; one that stays away is told of by the prober", []string{
		"lost TCP streaming connection with remote peer",
		"closed TCP streaming connection with remote peer",
		"peer became inactive (message send to peer failed)",
		"failed to reach the peer URL",
		"failed to get version",
		"failed to unmarshal response",
	}},
	{"while a leader is elected, reads wait; whoever waits too long is told", []string{
		"waiting for ReadIndex response took too long, retrying",
		"ignored out-of-date read index response; local node read indexes queueing up and waiting to be in sync with leader",
	}},
	{"a member that was replaced knocks until it hears of it, its successor until it is known", []string{
		"ignored streaming request; ID mismatch",
		"failed to find remote peer in cluster",
		"rejected stream from remote peer because it was removed",
		"skipped attributes update of removed member",
	}},
	{"who asked is told, and asks again or does not mind", []string{
		"failed to apply request",
		"Validation on configuration change failed",
		"rejecting member add request; local member has not been connected to majority peers, reconfigure breaks active quorum",
		"rejecting promote learner: learner is not ready",
		"failed to promote a member",
	}},
}

func (e entry) ordinary() bool {
	for _, o := range ordinary {
		if slices.Contains(o.messages, e.message) {
			return true
		}
	}
	return false
}
