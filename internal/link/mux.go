package link

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/hashicorp/yamux"
)

const (
	muxWindow    = 1 << 20   // octets a stream may have unread
	muxBacklog   = 256       // streams not yet accepted
	muxQueue     = 512 << 10 // octets waiting to be written, for all streams
	muxKeepAlive = 10 * time.Second
	writeTimeout = 30 * time.Second
)

func muxConfig(log *slog.Logger) *yamux.Config {
	return &yamux.Config{
		AcceptBacklog:          muxBacklog,
		EnableKeepAlive:        true,
		KeepAliveInterval:      muxKeepAlive,
		ConnectionWriteTimeout: writeTimeout,
		MaxStreamWindowSize:    muxWindow,
		StreamOpenTimeout:      time.Minute,
		StreamCloseTimeout:     time.Minute,
		Logger:                 muxLogger{log},
	}
}

// muxServer and muxClient run yamux over nc, whose writes they gather: yamux alone
// would make two TLS records of every message.
func muxServer(nc net.Conn, log *slog.Logger) (*yamux.Session, error) {
	s, err := yamux.Server(newBatchConn(nc, muxQueue, writeTimeout), muxConfig(log))
	if err != nil {
		return nil, fmt.Errorf("start mux: %w", err)
	}
	return s, nil
}

func muxClient(nc net.Conn, log *slog.Logger) (*yamux.Session, error) {
	s, err := yamux.Client(newBatchConn(nc, muxQueue, writeTimeout), muxConfig(log))
	if err != nil {
		return nil, fmt.Errorf("start mux: %w", err)
	}
	return s, nil
}

// muxLogger brings yamux's lines into slog: the end of a connection is ours to
// report, so nothing of it is more than a detail.
type muxLogger struct{ log *slog.Logger }

func (l muxLogger) Print(v ...any)                 { l.put(fmt.Sprint(v...)) }
func (l muxLogger) Println(v ...any)               { l.put(fmt.Sprintln(v...)) }
func (l muxLogger) Printf(format string, v ...any) { l.put(fmt.Sprintf(format, v...)) }

func (l muxLogger) put(s string) {
	level := slog.LevelDebug
	if strings.HasPrefix(s, "[WARN]") {
		level = slog.LevelInfo
	}
	l.log.Log(context.Background(), level, "mux", "err", strings.TrimSpace(s))
}
