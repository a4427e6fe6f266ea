package operation

import (
	"encoding/json"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// JSON is op for people to read: slot inspect. Its form may change with any release. An
// access key is shown as zeros: with it, whoever reads this could make URLs.
func JSON(op *Operation) json.RawMessage {
	if s := op.GetSetAccess(); len(s.GetKey()) > 0 {
		op = proto.CloneOf(op)
		clear(op.GetSetAccess().Key)
	}
	b, err := protojson.Marshal(op)
	if err != nil {
		return nil // what cannot be shown is left out
	}
	return b
}
