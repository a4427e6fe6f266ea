package app

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bootTime is a clock that never goes back and counts while the machine sleeps.
func bootTime() time.Duration {
	var ts unix.Timespec
	// Raw: the call cannot block, and telling the scheduler of it costs more than it does.
	if _, _, errno := syscall.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&ts)), 0); errno != 0 {
		panic(errno) // the clock exists since Linux 2.6.39
	}
	return time.Duration(ts.Nano())
}
