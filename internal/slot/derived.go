package slot

import (
	"encoding/binary"
	"time"
)

// derivedEra is an era of derived data: who reads his mail once in a while finds what was
// derived of it, and that of messages which have gone is gone after two.
const derivedEra = 90 * 24 * time.Hour

// turnEra tells the index what era it is. Those of slots begin at different times, since
// what is read in a new one is written once more.
func (inc *incarnation) turnEra() {
	now := uint64(max(0, inc.cfg.Now().Unix()))
	const length = uint64(derivedEra / time.Second)
	apart := binary.BigEndian.Uint64(inc.cfg.Slot[:]) % length
	if err := inc.index.Derived().Turn(uint32((now + apart) / length)); err != nil {
		inc.log.Debug("derived data of an old era not forgotten", "err", err)
	}
}
