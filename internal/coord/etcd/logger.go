package etcd

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// bridge sends what etcd logs at warning level and above to slog. level says how
// loud: never an error, since whether a person must act is decided where the
// consequences show.
type bridge struct {
	log    *slog.Logger
	level  func(entry) slog.Level
	fields []zapcore.Field
}

// entry is a line of etcd's log.
type entry struct {
	message string
	fields  map[string]any
	err     error // nil if it has none
}

// zapLogger returns a logger for etcd. fatal, if not nil, is told of a message
// with which etcd would end the process, by exit or panic; only that goroutine ends.
func zapLogger(log *slog.Logger, level func(entry) slog.Level, fatal func(message string)) *zap.Logger {
	return zap.New(&bridge{log: log, level: level}, zap.WithFatalHook(fatalHook(fatal)), zap.WithPanicHook(fatalHook(fatal)))
}

// quiet is for a client: its caller gets the error.
func quiet(entry) slog.Level { return slog.LevelDebug }

func (b *bridge) Enabled(l zapcore.Level) bool { return l >= zapcore.WarnLevel }

func (b *bridge) With(fields []zapcore.Field) zapcore.Core {
	return &bridge{log: b.log, level: b.level, fields: append(b.fields[:len(b.fields):len(b.fields)], fields...)}
}

func (b *bridge) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if b.Enabled(e.Level) {
		return ce.AddCore(e, b)
	}
	return ce
}

func (b *bridge) Write(e zapcore.Entry, fields []zapcore.Field) error {
	enc := zapcore.NewMapObjectEncoder()
	said := entry{message: e.Message, fields: enc.Fields}
	for _, f := range append(b.fields[:len(b.fields):len(b.fields)], fields...) {
		f.AddTo(enc)
		if err, ok := f.Interface.(error); ok {
			said.err = err
		}
	}
	b.log.LogAttrs(context.Background(), b.level(said), "etcd says",
		slog.String("message", e.Message), slog.String("severity", e.Level.String()), slog.Any("fields", enc.Fields))
	return nil
}

func (b *bridge) Sync() error { return nil }

type fatalHook func(message string)

func (h fatalHook) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	if h != nil {
		enc := zapcore.NewMapObjectEncoder()
		for _, f := range fields {
			f.AddTo(enc)
		}
		h(fmt.Sprint(e.Message, " ", enc.Fields))
	}
	runtime.Goexit()
}
