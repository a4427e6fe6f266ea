package etcd

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
)

func TestAPeerIsMissedOnceItIsAwayLongerThanARestart(t *testing.T) {
	var n neighbours
	began := time.Unix(0, 0)
	var told []int
	for _, at := range []int{0, 5, 100, 105, 110, 115, 120, 125} { // away twice, in seconds
		e := entry{message: "prober detected unhealthy status", fields: map[string]any{"remote-peer-id": "a"}}
		if level, ok := n.level(e, began.Add(time.Duration(at)*time.Second)); !ok || level == slog.LevelWarn {
			told = append(told, at)
		}
	}
	if len(told) != 1 || told[0] != 115 {
		t.Errorf("told at %v s, want once at 115", told)
	}
}

func TestARefusalIsToldOnceForEachHostAndReason(t *testing.T) {
	var out bytes.Buffer
	n := neighbours{log: slog.New(slog.NewTextHandler(&out, nil))}
	unknown := &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}
	expired := &tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired}}
	for _, r := range []struct {
		remote string
		err    error
		told   bool
	}{
		{"10.0.0.1:4000", unknown, true},
		{"10.0.0.1:4001", unknown, false},
		{"10.0.0.1:4002", expired, true},
		{"10.0.0.2:4003", unknown, true},
		{"10.0.0.3:4004", &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, false},
		{"10.0.0.3:4005", &net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}, true},
	} {
		out.Reset()
		e := entry{message: "rejected connection on peer endpoint", fields: map[string]any{"remote-addr": r.remote}, err: r.err}
		level, ok := n.level(e, time.Unix(0, 0))
		if !ok || level != slog.LevelDebug {
			t.Errorf("%s: etcd's own line has level %v", r.remote, level)
		}
		if told := strings.Contains(out.String(), "remote="+r.remote); told != r.told {
			t.Errorf("%s, %v: told %v", r.remote, r.err, told)
		}
	}
}

func TestOrdinaryLinesAreForDebugging(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	m := &Member{log: log}
	z := m.logger().With(zap.String("peer", "a"))
	z.Warn("lost TCP streaming connection with remote peer")
	z.Error("failed to update storage version")
	z.Info("something went well")
	if out.Len() > 0 {
		t.Errorf("said %s", out.String())
	}
	z.Error("disk is full", zap.Error(errors.New("no space")))
	if got := out.String(); !strings.Contains(got, `level=WARN msg="etcd says" message="disk is full" severity=error fields="map[error:no space peer:a]"`) {
		t.Errorf("said %q", got)
	}
}
